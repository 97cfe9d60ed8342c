// Revocation (RFC 7009) by a public client.
// Material: `id`, `refresh_token`. Gives the access token back, then the refresh token. Tells the access token, and how
// the refresh token is refused after that.
import * as client from 'openid-client';
import { discovered, material, refusal, tell } from './mint.mjs';

const { config } = await discovered(material.id, client.None());
const { access_token, refresh_token } = await client.refreshTokenGrant(config, material.refresh_token);
await client.tokenRevocation(config, access_token, { token_type_hint: 'access_token' });
const other = await client.refreshTokenGrant(config, refresh_token);
await client.tokenRevocation(config, other.refresh_token);
tell({
  access_tokens: [access_token, other.access_token],
  refused: await refusal(client.refreshTokenGrant(config, other.refresh_token)),
});
