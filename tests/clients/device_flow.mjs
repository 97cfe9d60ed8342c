// A device without a keyboard (RFC 8628), and a person who connects it through Chromium and the example front-end.
// Material: `id`, of a public client, `frontend`, `audience`. Tells what the person saw and what the device got.
import * as client from 'openid-client';
import { withPerson } from './browser.mjs';
import { material, tell, verified } from './mint.mjs';
import { discovered } from './relying_party.mjs';

const { id, audience } = material;
const config = await discovered(id, client.None());
const begin = () => client.initiateDeviceAuthorization(config, { scope: 'openid read:metrics' });
// The person was there before the device asks: nothing is to be waited for.
const poll = (begun) => client.pollDeviceAuthorizationGrant(config, { ...begun, interval: 0 });

const told = await withPerson(async (person) => {
  const told = {};
  const begun = await begin();
  told.verification_uri = begun.verification_uri;
  await person.visit(begun.verification_uri);
  await person.signIn('alice', 'correct horse battery staple');
  await person.type('Code', 'WRNG-CODE');
  await person.press('Continue');
  told.wrong = await person.texts('[role=alert]');
  // As people type: without what is there to read it by.
  await person.type('Code', begun.user_code.toLowerCase());
  await person.press('Continue');
  told.asked = { heading: await person.heading(), code: await person.texts('.shown-code'), scopes: await person.texts('.scopes .title') };
  told.asked.isTheCode = told.asked.code[0] === begun.user_code;
  await person.press('Approve');
  told.approved = await person.heading();
  const answer = await poll(begun);
  told.claims = await verified(config, answer.access_token, audience);
  told.id_token = answer.claims();

  // By the link, which has the code in it: it is still to be confirmed.
  const other = await begin();
  await person.visit(other.verification_uri_complete);
  await person.press('Continue');
  await person.press('Deny');
  told.denied = await person.heading();
  told.refused = await poll(other).then(() => 'granted', ({ error }) => error);
  return told;
});
tell(told);
