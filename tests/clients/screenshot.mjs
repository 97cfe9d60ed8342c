// The picture of the example front-end: its sign-in and consent pages beside each other.
// Material: `id`, `secret`, `frontend`, `path`, where the PNG goes. Tells how many bytes it has.
import { readFile } from 'node:fs/promises';
import * as client from 'openid-client';
import { withPerson } from './browser.mjs';
import { material, tell } from './mint.mjs';
import { discovered, RelyingParty } from './relying_party.mjs';

const { id, secret, path } = material;
const config = await discovered(id, client.ClientSecretBasic(secret));
const party = await RelyingParty.start(config);
await withPerson(async (person) => {
  const { page } = person;
  await page.setViewport({ width: 500, height: 816, deviceScaleFactor: 1.25 });
  const shots = [];
  const shoot = async () => shots.push(await page.screenshot({ encoding: 'base64' }));
  await person.visit((await party.begin({ scope: 'openid profile email read:invoices' })).url);
  await person.type('User name', 'alice');
  await person.type('Password', 'correct horse battery staple');
  await shoot();
  await person.press('Sign in');
  await shoot();
  await page.setViewport({ width: 1000, height: 816, deviceScaleFactor: 1.25 });
  const images = shots.map((shot) => `<img src="data:image/png;base64,${shot}" width="500" style="float: left">`);
  await page.goto('about:blank');
  await page.setContent(`<body style="margin: 0">${images.join('')}`, { waitUntil: 'load' });
  await page.screenshot({ path });
});
await party.close();
tell((await readFile(path)).length);
