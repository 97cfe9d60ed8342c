// The refresh token grant of a public client.
// Material: `id`, `refresh_token`, `audience`. Tells the claims of the token of each of two rotations, and the refresh
// tokens that came with them.
import * as client from 'openid-client';
import { discovered, material, refusal, tell, verified } from './mint.mjs';

const { config } = await discovered(material.id, client.None());
const first = await client.refreshTokenGrant(config, material.refresh_token);
const second = await client.refreshTokenGrant(config, first.refresh_token, { scope: 'read:metrics' });
tell({
  claims: [
    await verified(config, first.access_token, material.audience),
    await verified(config, second.access_token, material.audience),
  ],
  refresh_tokens: [first.refresh_token, second.refresh_token],
  made_up: await refusal(client.refreshTokenGrant(config, 'made up')),
});
