// Access tokens bound to a key by DPoP (RFC 9449), with the nonce that the mint asks for.
// Material: `id`, `secret`, `alg`, `audience`; with `refresh_token`, a public client's, the refresh token grant in the
// place of client credentials. Tells the claims of the token, the thumbprint that `cnf` has to name, the type of the
// token, the statuses of the requests of two grants, and how a refresh by another key is refused.
import * as client from 'openid-client';
import { discovered, material, refusal, tell, verified } from './mint.mjs';

const { id, secret, alg, audience, refresh_token } = material;
const { config, statuses } = await discovered(id, secret ? client.ClientSecretBasic(secret) : client.None());
const bound = async () => client.getDPoPHandle(config, await client.randomDPoPKeyPair(alg));
// It remembers the nonce, and asks once more where one is asked for (RFC 9449 §8).
const DPoP = await bound();
const grant = (token, DPoP) =>
  token
    ? client.refreshTokenGrant(config, token, undefined, { DPoP })
    : client.clientCredentialsGrant(config, undefined, { DPoP });

const first = await grant(refresh_token, DPoP);
const second = await grant(first.refresh_token ?? refresh_token, DPoP);
const told = {
  claims: await verified(config, second.access_token, audience),
  thumbprint: await DPoP.calculateThumbprint(),
  token_type: second.token_type,
  statuses: [...statuses],
};
if (refresh_token) {
  told.other = await refusal(grant(second.refresh_token, await bound()));
}
tell(told);
