// What a workload gets for the token of its platform, by the JWT bearer grant (RFC 7523 §2.1) and by token exchange
// (RFC 8693), bound to a key where it shows one.
// Material: `id`, of a public client, `token`, `delegated`, one that is good with `actor` only, `audience`. Tells the
// claims of the tokens, the type of what was exchanged, and how a token of nobody's is refused.
import * as client from 'openid-client';
import { discovered, material, refusal, tell, verified } from './mint.mjs';

const JWT = 'urn:ietf:params:oauth:token-type:jwt';
const { id, token, delegated, actor, audience } = material;
const { config } = await discovered(id, client.None());

function bearer(assertion, options) {
  return client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:jwt-bearer', { assertion }, options);
}

function exchange(parameters) {
  return client.genericGrantRequest(config, 'urn:ietf:params:oauth:grant-type:token-exchange', {
    subject_token_type: JWT,
    ...parameters,
  });
}

const DPoP = client.getDPoPHandle(config, await client.randomDPoPKeyPair());
const granted = await bearer(token);
const bound = await bearer(token, { DPoP });
const exchanged = await exchange({ subject_token: token, resource: audience });
const acting = await exchange({ subject_token: delegated, actor_token: actor, actor_token_type: JWT });
tell({
  granted: await verified(config, granted.access_token, audience),
  bound: await verified(config, bound.access_token, audience),
  exchanged: await verified(config, exchanged.access_token, audience),
  acting: await verified(config, acting.access_token, audience),
  issued_token_type: exchanged.issued_token_type,
  refused: [await refusal(bearer('x.y.z')), await refusal(exchange({ subject_token: 'x.y.z' }))],
});
