// Introspection by a resource server, in plain JSON (RFC 7662) and signed (RFC 9701).
// Material: `id`, `secret`, `token`. Tells both answers, the claims of the signed one as jose verifies it, and the plain
// answer to a token that is none.
import * as jose from 'jose';
import * as client from 'openid-client';
import { discovered, keys, material, tell } from './mint.mjs';

const { id, secret, token } = material;
const { config } = await discovered(id, client.ClientSecretBasic(secret));
const plain = await client.tokenIntrospection(config, token);
const inactive = await client.tokenIntrospection(config, 'x');

const { config: signing } = await discovered(id, client.ClientSecretPost(secret), {
  introspection_signed_response_alg: 'ES256',
});
// openid-client verifies the signature too.
client.enableNonRepudiationChecks(signing);
let jwt;
const fetched = signing[client.customFetch];
signing[client.customFetch] = async (...request) => {
  const response = await fetched(...request);
  if (response.headers.get('content-type') === 'application/token-introspection+jwt') {
    jwt = await response.clone().text();
  }
  return response;
};
const signed = await client.tokenIntrospection(signing, token);
const { payload } = await jose.jwtVerify(jwt, keys(signing), {
  issuer: material.issuer,
  audience: id,
  typ: 'token-introspection+jwt',
  algorithms: ['ES256'],
});
tell({ plain, inactive, signed, claims: payload });
