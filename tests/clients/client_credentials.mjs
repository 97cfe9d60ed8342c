// The client credentials grant, by a secret in the header and in the form.
// Material: `id`, `secret`, `scope`, `audience`. Tells the claims of the token of each method.
import * as client from 'openid-client';
import { discovered, material, refusal, tell, verified } from './mint.mjs';

const { id, secret, scope, audience } = material;
const told = {};
for (const method of [client.ClientSecretBasic, client.ClientSecretPost]) {
  const { config } = await discovered(id, method(secret));
  const answer = await client.clientCredentialsGrant(config, { scope });
  told[method.name] = await verified(config, answer.access_token, audience);
}
const { config } = await discovered(id, client.ClientSecretBasic('wrong'));
told.wrong = await refusal(client.clientCredentialsGrant(config));
tell(told);
