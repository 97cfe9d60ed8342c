// RP-initiated logout through Chromium and the example front-end, and what the mint tells the client behind it.
// Material: `id`, `secret`, `frontend`, `port`, where the client is registered to be told. Tells the claims of the logout
// token (Back-Channel Logout 1.0), where the person came out, and what is left of the session.
import * as jose from 'jose';
import * as client from 'openid-client';
import { withPerson } from './browser.mjs';
import { keys, material, refusal as refusalOfGrant, tell } from './mint.mjs';
import { discovered, refusal, RelyingParty } from './relying_party.mjs';

const { id, secret, port } = material;
const config = await discovered(id, client.ClientSecretBasic(secret));
const party = await RelyingParty.start(config, port);
const scope = 'openid read:invoices';

const told = await withPerson(async (person) => {
  const answer = await party.login(person, { scope }, async () => {
    await person.signIn('alice', 'correct horse battery staple');
    await person.press('Allow');
  });
  const begin = (parameters) =>
    person.visit(client.buildEndSessionUrl(config, {
      post_logout_redirect_uri: `${party.origin}/signed-out`,
      id_token_hint: answer.id_token,
      ...parameters,
    }));

  await begin({ state: 'there and back' });
  const told = { page: await person.heading(), id_token: answer.claims() };
  await person.press('Sign out');
  const { pathname, searchParams } = party.arrived();
  told.out = { pathname, state: searchParams.get('state') };

  const { payload, protectedHeader } = await jose.jwtVerify((await party.told()).get('logout_token'), keys(config), {
    issuer: material.issuer,
    audience: id,
    typ: 'logout+jwt',
    algorithms: ['ES256'],
    requiredClaims: ['iat', 'exp', 'jti', 'events'],
  });
  told.logout_token = { ...payload, header: protectedHeader };
  told.refreshed = await refusalOfGrant(client.refreshTokenGrant(config, answer.refresh_token));
  told.silent = await refusal(party.login(person, { scope, prompt: 'none' }));
  return told;
});
await party.close();
tell(told);
