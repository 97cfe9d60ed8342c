// A login at node-oidc-provider, whose keys are the mint's: openid-client through Chromium.
// Material: `issuer`, the provider's, `id`, of a public client, `audience`. Tells the claims and the header of the ID token
// and of the access token, as jose verifies them by what the provider publishes, and these keys.
import * as jose from 'jose';
import * as client from 'openid-client';
import { withPerson } from './browser.mjs';
import { keys, material, tell } from './mint.mjs';
import { discovered, RelyingParty } from './relying_party.mjs';

const { id, issuer, audience } = material;
const config = await discovered(id, client.None());
const party = await RelyingParty.start(config);
const answer = await withPerson((person) =>
  party.login(person, { scope: 'openid read:invoices' }, async () => {
    await person.type('Enter any login', 'alice');
    await person.type('and password', 'any');
    await person.press('Sign-in');
    await person.press('Continue');
  }),
);
await party.close();
const verify = (token, options) => jose.jwtVerify(token, keys(config), { issuer, algorithms: ['ES256'], ...options });
const idToken = await verify(answer.id_token, { audience: id });
const accessToken = await verify(answer.access_token, { audience, typ: 'at+jwt' });
tell({
  id_token: { header: idToken.protectedHeader, claims: idToken.payload },
  access_token: { header: accessToken.protectedHeader, claims: accessToken.payload },
  keys: (await (await fetch(config.serverMetadata().jwks_uri)).json()).keys,
});
