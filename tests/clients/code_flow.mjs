// People sign in through Chromium and the example front-end: the authorization code flow, with all that a client may ask.
// Material: `id`, `secret`, `frontend`, where the pages are, `audience`. Tells the claims of what was granted, what people
// saw, and how logins failed.
import * as client from 'openid-client';
import { oneTimeCode } from '../../examples/frontend/lib/accounts.mjs';
import { withPerson } from './browser.mjs';
import { material, refusal as refusalOfGrant, tell, verified } from './mint.mjs';
import { discovered, refusal, RelyingParty } from './relying_party.mjs';

const MULTI_FACTOR = 'https://refeds.org/profile/mfa';
// Bob's, of examples/frontend/accounts.json.
const OTP_SECRET = 'JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP';
const { id, secret, audience } = material;
const config = await discovered(id, client.ClientSecretBasic(secret));
const party = await RelyingParty.start(config);
const scope = 'openid profile email read:invoices';
const asAlice = (person) => person.signIn('alice', 'correct horse battery staple');

const told = await withPerson(async (person) => {
  const told = {};
  const saw = async () => `${await person.heading()}`;

  // The first login: a wrong password, then the right one, then consent.
  const first = await party.login(person, { scope, login_hint: 'alice' }, async () => {
    told.pages = [await saw()];
    await person.type('Password', 'wrong');
    await person.press('Sign in');
    told.wrong = await person.texts('[role=alert]');
    await asAlice(person);
    told.pages.push(await saw());
    told.scopes = await person.texts('.scopes .title');
    await person.press('Allow');
    told.pages.push(await saw());
  });
  told.first = first.claims();
  told.scope = first.scope;
  told.access_token = await verified(config, first.access_token, audience);
  told.userinfo = await client.fetchUserInfo(config, first.access_token, first.claims().sub);

  const refreshed = await client.refreshTokenGrant(config, first.refresh_token);
  told.refreshed = await verified(config, refreshed.access_token, audience);

  // Nothing is asked again, unless the client wants it so.
  told.again = (await party.login(person, { scope })).claims();
  told.silent = (await party.login(person, { scope, prompt: 'none' })).claims();
  for (const [name, parameters] of [['prompted', { prompt: 'login' }], ['aged', { max_age: '0' }]]) {
    const answer = await party.login(person, { scope, ...parameters }, async () => {
      told[`${name}_page`] = await saw();
      await asAlice(person);
    });
    told[name] = answer.claims();
  }

  // Pushed, and less is granted than was asked.
  const pushed = await party.login(person, { scope, prompt: 'consent' }, async () => {
    await person.turn('See your e-mail address And whether it was verified');
    await person.press('Allow');
  }, true);
  told.pushed = { scope: pushed.scope, claims: await client.fetchUserInfo(config, pushed.access_token, pushed.claims().sub) };

  told.denied = await refusal(party.login(person, { scope, prompt: 'consent' }, () => person.press('Deny')));

  // A code is good once; what it gave is taken back where it comes again (RFC 6749 §4.1.2).
  const begun = await party.begin({ scope });
  await person.visit(begun.url);
  const back = party.arrived();
  const redeem = () => client.authorizationCodeGrant(config, back, { idTokenExpected: true, ...begun.checks });
  const { refresh_token } = await redeem();
  told.replayed = await refusalOfGrant(redeem());
  told.taken_back = await refusalOfGrant(client.refreshTokenGrant(config, refresh_token));

  // Somebody else.
  const bob = await person.another();
  told.nobody = await refusal(party.login(bob, { scope, prompt: 'none' }));
  told.cancelled = await refusal(party.login(bob, { scope }, () => bob.press('Cancel')));
  const stepped = await party.login(bob, { scope, acr_values: MULTI_FACTOR }, async () => {
    await bob.signIn('bob', 'open sesame');
    told.step = await bob.heading();
    await bob.type('One-time code', oneTimeCode(OTP_SECRET, Math.floor(Date.now() / 30_000)));
    await bob.press('Continue');
    await bob.press('Allow');
  });
  told.stepped = stepped.claims();
  // Alice's ID token as a hint: Bob is not she.
  const hint = { scope, id_token_hint: first.id_token };
  told.other = await refusal(party.login(bob, { ...hint, prompt: 'none' }));
  told.hinted = (await party.login(bob, hint, () => asAlice(bob).then(() => bob.settled()))).claims().sub;

  told.requested = [...person.requested].filter((origin) => !['null', party.origin].includes(origin)).sort();
  told.complaints = [...person.complaints, ...bob.complaints];
  return told;
});
await party.close();
tell(told);
