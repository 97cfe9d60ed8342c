// A login front-end for mintkeep: the pages that people see. mintkeep keeps the protocol and the keys. See README.md.
import { readFileSync } from 'node:fs';
import http from 'node:http';
import { Accounts } from './lib/accounts.mjs';
import { Device } from './lib/device.mjs';
import { Login } from './lib/login.mjs';
import { Logout } from './lib/logout.mjs';
import { Mint, MintError } from './lib/mint.mjs';
import * as pages from './lib/pages.mjs';
import { Sessions, Throttle } from './lib/sessions.mjs';
import { settings } from './lib/settings.mjs';

const LONGEST_FORM = 16 * 1024;

const { host, port, baseUrl, title: site, mint, accounts, clients } = settings();
const isSecure = baseUrl?.startsWith('https:') ?? false;

// What the pages share.
const front = {
  site,
  mint: new Mint(mint),
  accounts: new Accounts(accounts),
  sessions: new Sessions(isSecure),
  // Failures of a source, and of a source with an account.
  failures: new Throttle(20, 5 * 60),
  client: ({ client_id: id, client_name: name }) => ({ name: name ?? id, ...(Object.hasOwn(clients, id) && clients[id]) }),
  view: ({ session }) => ({ site, csrf: front.sessions.csrfToken(session) }),
};
front.login = new Login(front);
front.device = new Device(front);
front.logout = new Logout(front);

const routes = {
  'GET /': (visit) => ({ page: pages.home({ site, person: visit.session.person }) }),
  'GET /login': (visit) => front.login.show(visit),
  'POST /login': (visit) => front.login.signIn(visit),
  'POST /code': (visit) => front.login.secondFactor(visit),
  'POST /consent': (visit) => front.login.consent(visit),
  'GET /device': (visit) => front.device.show(visit),
  'POST /device': (visit) => front.device.check(visit),
  'POST /device/decide': (visit) => front.device.decide(visit),
  'GET /logout': (visit) => front.logout.show(visit),
  'POST /logout': (visit) => front.logout.signOut(visit),
};

const files = {
  '/style.css': ['text/css; charset=utf-8', readFileSync(new URL('style.css', import.meta.url))],
  '/icon.svg': ['image/svg+xml', readFileSync(new URL('icon.svg', import.meta.url))],
};

const HEADERS = {
  'Content-Security-Policy':
    "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'",
  // Addresses hold handles. Not `no-referrer`, which would hide from ourselves where a form comes from.
  'Referrer-Policy': 'same-origin',
  'X-Content-Type-Options': 'nosniff',
  'X-Frame-Options': 'DENY',
  'Cross-Origin-Resource-Policy': 'same-origin',
  'Permissions-Policy': 'camera=(), geolocation=(), microphone=()',
  ...(isSecure && { 'Strict-Transport-Security': 'max-age=31536000' }),
};

// What a person is told where no page can be: by the mint's answer to a handle.
const PROBLEMS = {
  403: ['Not from here', 'This request cannot be answered here. Go back to the application and begin again.'],
  404: ['This has ended', 'It took too long, or the address is not right. Go back to the application and begin again.'],
  409: ['Answered already', 'This was answered before. Go back to the application, and begin again where you have to.'],
  413: ['Too much', 'The form is longer than any of ours.'],
  503: ['Not available', 'Signing in does not work at the moment. Try again in a minute.'],
};

class Refused extends Error {
  constructor(status) {
    super(`refused with ${status}`);
    this.status = status;
  }
}

async function answer(request, response) {
  const { pathname, searchParams: query } = new URL(request.url, 'http://frontend');
  const file = files[pathname];
  if (file && request.method === 'GET') {
    response.setHeader('Cache-Control', 'public, max-age=3600');
    return { type: file[0], body: file[1] };
  }
  const route = routes[`${request.method} ${pathname}`];
  if (!route) {
    throw new Refused(404);
  }
  const visit = { request, response, query, source: request.socket.remoteAddress };
  if (request.method === 'POST') {
    // Where the browser says it, and in any case by the token: a form of ours, or none.
    const from = request.headers['sec-fetch-site'];
    if (from !== undefined && from !== 'same-origin') throw new Refused(403);
    visit.form = await form(request);
    visit.session = front.sessions.of(request, response);
    if (!front.sessions.isCsrfToken(visit.session, visit.form.get('csrf') ?? '')) throw new Refused(403);
  } else {
    visit.session = front.sessions.of(request, response);
  }
  return route(visit);
}

async function form(request) {
  const parts = [];
  let length = 0;
  for await (const part of request) {
    length += part.length;
    if (length > LONGEST_FORM) throw new Refused(413);
    parts.push(part);
  }
  return new URLSearchParams(Buffer.concat(parts).toString());
}

function problem(error) {
  const isKnown = error instanceof Refused || error instanceof MintError;
  // The mint's 401 is about us.
  const status = isKnown && PROBLEMS[error.status] ? error.status : 503;
  if (status === 503) log({ error: isKnown ? error.message : error.stack });
  const [title, text] = PROBLEMS[status];
  return { status, page: pages.notice({ site, title, text }) };
}

// One line of JSON. Never a query or a form: handles, codes and passwords are in them.
function log(line) {
  console.error(JSON.stringify({ time: new Date().toISOString(), ...line }));
}

const server = http.createServer(async (request, response) => {
  const begun = performance.now();
  for (const [name, value] of Object.entries({ ...HEADERS, 'Cache-Control': 'no-store' })) {
    response.setHeader(name, value);
  }
  const { status = 200, redirect, page, type = 'text/html; charset=utf-8', body = page } = await answer(request, response)
    .catch(problem);
  if (redirect) {
    response.writeHead(303, { Location: redirect }).end();
  } else {
    response.writeHead(status, { 'Content-Type': type, 'Content-Length': Buffer.byteLength(body) }).end(body);
  }
  const path = request.url.split('?')[0];
  log({ method: request.method, path, status: response.statusCode, milliseconds: Math.round(performance.now() - begun) });
});

server.headersTimeout = 10_000;
server.requestTimeout = 30_000;
server.listen(port, host, () => {
  const { address, family, port } = server.address();
  const origin = `http://${family === 'IPv6' ? `[${address}]` : address}:${port}`;
  console.log(`frontend${baseUrl ? ` of ${baseUrl}` : ''} is ready at ${origin}`);
});
for (const signal of ['SIGINT', 'SIGTERM']) {
  process.on(signal, () => {
    server.close(() => process.exit());
    server.closeIdleConnections?.();
  });
}
