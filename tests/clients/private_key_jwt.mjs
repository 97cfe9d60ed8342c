// The client credentials grant of a client that proves itself by a JWT that it signed (RFC 7523 §2.2).
// Material: `id`, `key`, a private JWK with `alg` and `kid`, `other`, one of the same kind that is not registered,
// `audience`. Tells the claims of the token, how the other key is refused, and how an assertion is that was used before.
import * as jose from 'jose';
import * as client from 'openid-client';
import { discovered, material, refusal, tell, verified } from './mint.mjs';

const { id, key, other, audience } = material;

async function proven(jwk, kid = jwk.kid) {
  const privateKey = await jose.importJWK(jwk, jwk.alg);
  return discovered(id, client.PrivateKeyJwt({ key: privateKey, kid }));
}

const { config } = await proven(key);
// What was sent is kept, to send it again.
let sent;
const fetched = config[client.customFetch];
config[client.customFetch] = (url, options) => {
  sent = [url, { ...options, body: options.body.toString() }];
  return fetched(url, options);
};
const answer = await client.clientCredentialsGrant(config);
const replayed = await fetch(...sent);
const { config: stranger } = await proven(other, key.kid);
tell({
  claims: await verified(config, answer.access_token, audience),
  replayed: (await replayed.json()).error,
  other: await refusal(client.clientCredentialsGrant(stranger)),
});
