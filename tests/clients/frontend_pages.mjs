// What the pages of the example front-end promise: to assistive technology, to eyes, and against other sites.
// Material: `id`, `secret`, `frontend`. Tells what was found of each page, and how forged requests are answered.
import * as client from 'openid-client';
import { withPerson } from './browser.mjs';
import { material, tell } from './mint.mjs';
import { discovered, RelyingParty } from './relying_party.mjs';

const { id, secret, frontend } = material;
const config = await discovered(id, client.ClientSecretBasic(secret));
const party = await RelyingParty.start(config);
const scope = 'openid profile email read:invoices';
const handles = [];

// The login page's address for a new login.
async function newLogin(parameters = {}) {
  const { url } = await party.begin({ scope, ...parameters });
  const { headers } = await fetch(url, { redirect: 'manual' });
  const login = new URL(headers.get('location'));
  handles.push(login.searchParams.get('login'));
  return login;
}

// Of the page that is shown: its language, headings, what can be used and has no name, how little its text stands out
// from what is behind it in either scheme (WCAG 2.2 §1.4.3 asks for 4.5), and what goes beyond a narrow window.
async function found(page) {
  const nameless = [];
  const look = (node) => {
    if (['button', 'link', 'textbox', 'checkbox'].includes(node.role) && !node.name) nameless.push(node.role);
    node.children?.forEach(look);
  };
  look(await page.accessibility.snapshot());
  const contrasts = [];
  for (const value of ['light', 'dark']) {
    await page.emulateMediaFeatures([{ name: 'prefers-color-scheme', value }]);
    contrasts.push(await page.evaluate(leastContrast));
  }
  await page.setViewport({ width: 320, height: 640 });
  const told = await page.evaluate(() => ({
    title: document.title,
    lang: document.documentElement.lang,
    headings: document.querySelectorAll('h1').length,
    scripts: document.querySelectorAll('script, [style], [onclick]').length,
    isTooWide: document.documentElement.scrollWidth > innerWidth,
  }));
  await page.setViewport({ width: 800, height: 900 });
  return { ...told, nameless, hasContrast: Math.min(...contrasts) >= 4.5 };
}

function leastContrast() {
  const parts = (color) => color.match(/[\d.]+/g).map(Number);
  const luminance = (color) => {
    const [r, g, b] = parts(color).map((part) => (part <= 10.31475 ? part / 255 / 12.92 : ((part / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b;
  };
  const behind = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = getComputedStyle(at).backgroundColor;
      if (parts(color)[3] !== 0) return color;
    }
    return 'rgb(255, 255, 255)';
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  const ratios = [...document.body.querySelectorAll('*')].filter(hasText).map((element) => {
    const [dark, light] = [luminance(getComputedStyle(element).color), luminance(behind(element))].sort((a, b) => a - b);
    return (light + 0.05) / (dark + 0.05);
  });
  return Math.min(...ratios);
}

const told = { pages: {}, statuses: {} };

await withPerson(async (person) => {
  const keep = async (name) => (told.pages[name] = await found(person.page));
  await person.visit(await newLogin({ login_hint: '"><b id="injected">' }));
  told.isEscaped = (await person.page.$('#injected')) === null;
  told.typed = await person.page.$eval('#username', (field) => field.value);
  await keep('sign-in');
  const sessionIds = async () => (await person.browser.cookies()).concat(await person.page.cookies());
  const cookie = async () => (await sessionIds()).find(({ name }) => name === 'session');
  const before = await cookie();
  await person.signIn('bob', 'open sesame');
  const after = await cookie();
  told.cookie = { httpOnly: after.httpOnly, sameSite: after.sameSite, isOther: after.value !== before.value };
  await keep('consent');
  await person.visit(await newLogin({ acr_values: 'https://refeds.org/profile/mfa' }));
  await keep('one-time code');
  for (const [name, path] of [['device', '/device'], ['sign-out', '/logout'], ['home', '/']]) {
    await person.visit(`${frontend}${path}`);
    await keep(name);
  }
  const ours = person.answers.filter((answer) => answer.url().startsWith(frontend));
  told.policies = [...new Set(ours.map((answer) => answer.headers()['content-security-policy']))];
  told.requested = [...person.requested].sort();
  told.complaints = person.complaints;
});

// A visitor's cookie, and the CSRF token of their page.
async function visitor(address) {
  const response = await fetch(address);
  const [, csrf] = /name="csrf" value="([^"]+)"/.exec(await response.text());
  return { cookie: response.headers.get('set-cookie').split(';')[0], csrf, headers: response.headers };
}

async function post(path, form, headers = {}) {
  const response = await fetch(`${frontend}${path}`, { method: 'POST', body: new URLSearchParams(form), headers });
  await response.arrayBuffer();
  return response.status;
}

const address = await newLogin();
const login = address.searchParams.get('login');
const [us, them] = [await visitor(address), await visitor(address)];
told.headers = Object.fromEntries(
  ['cache-control', 'referrer-policy', 'x-content-type-options', 'x-frame-options'].map((name) => [name, us.headers.get(name)]),
);
const good = { login, csrf: us.csrf, username: 'alice', password: 'correct horse battery staple', decision: 'accept' };
const { cookie } = us;
const { csrf: ignored, ...withoutToken } = good;
const another = 'A'.repeat(43);
handles.push(another);
told.statuses = {
  withoutToken: await post('/login', withoutToken, { cookie }),
  tokenOfAnother: await post('/login', { ...good, csrf: them.csrf }, { cookie }),
  withoutCookie: await post('/login', good),
  fromAnotherSite: await post('/login', good, { cookie, 'sec-fetch-site': 'cross-site' }),
  forgedHandle: await post('/login', { ...good, login: another }, { cookie }),
  forgedAddress: (await fetch(`${frontend}/login?login=${another}`)).status,
  pathAsHandle: (await fetch(`${frontend}/login?login=..%2F..%2Fsessions%2Fend`)).status,
  withoutHandle: (await fetch(`${frontend}/login`)).status,
  consentWithoutSignIn: await post('/consent', { ...good, scope }, { cookie }),
  tooLong: await post('/login', { ...good, password: 'x'.repeat(20_000) }, { cookie }),
  otherMethod: (await fetch(`${frontend}/login`, { method: 'DELETE' })).status,
  cancelled: await post('/login', { ...good, decision: 'cancel' }, { cookie }),
  cancelledAgain: await post('/login', { ...good, decision: 'cancel' }, { cookie }),
};
// Guesses are few.
const guess = async () => post('/login', { ...good, login: handles.at(-1), password: 'guess' }, { cookie });
await newLogin();
const guesses = [];
while (!guesses.includes(429) && guesses.length < 50) guesses.push(await guess());
told.guesses = [...new Set(guesses)];
await party.close();
tell({ ...told, handles });
