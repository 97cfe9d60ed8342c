// A web application that signs people in by a mint: open its address, sign in, and it shows what it learned.
//   ISSUER=http://127.0.0.1:8080 node demo-client.mjs
// For a real one take a library: this shows only how little there is between it and the mint.
import { createHash, createPublicKey, randomBytes, verify } from 'node:crypto';
import http from 'node:http';
import { html } from './lib/html.mjs';

const { ISSUER = 'http://127.0.0.1:8080', CLIENT_ID = 'web-app', PORT = '8091', SCOPE = 'openid profile email' } = process.env;
const origin = `http://127.0.0.1:${PORT}`;
const redirect_uri = `${origin}/callback`;
const random = () => randomBytes(32).toString('base64url');
const hash = (text) => createHash('sha256').update(text).digest('base64url');

const metadata = await (await fetch(`${ISSUER}/.well-known/openid-configuration`)).json();
// Logins that began here: a cookie with their state -> what they are checked by.
const begun = new Map();

function begin(response) {
  const [state, nonce, verifier] = [random(), random(), random()];
  begun.set(state, { nonce, verifier });
  const query = new URLSearchParams({
    client_id: CLIENT_ID, response_type: 'code', redirect_uri, scope: SCOPE, state, nonce,
    code_challenge: hash(verifier), code_challenge_method: 'S256',
  });
  response.setHeader('Set-Cookie', `login=${state}; HttpOnly; SameSite=Lax; Path=/callback`);
  response.writeHead(303, { Location: `${metadata.authorization_endpoint}?${query}` }).end();
}

async function finish(request, query) {
  const state = /(?:^|; )login=([^;]*)/.exec(request.headers.cookie ?? '')?.[1];
  const { nonce, verifier } = begun.get(state) ?? {};
  begun.delete(state);
  if (!nonce || query.get('state') !== state) throw new Error('this login did not begin here');
  // Another mint's answer (RFC 9207).
  if (query.get('iss') !== metadata.issuer) throw new Error('the answer is not of the issuer that was asked');
  if (query.has('error')) throw new Error(query.get('error'));
  const body = new URLSearchParams({
    grant_type: 'authorization_code', client_id: CLIENT_ID, code: query.get('code'), redirect_uri, code_verifier: verifier,
  });
  const answer = await (await fetch(metadata.token_endpoint, { method: 'POST', body })).json();
  if (answer.error) throw new Error(answer.error);
  return idTokenClaims(answer.id_token, nonce);
}

// OpenID Connect Core §3.1.3.7.
async function idTokenClaims(token, nonce) {
  const [header, payload, signature] = token.split('.');
  const parse = (part) => JSON.parse(Buffer.from(part, 'base64url'));
  const { kid, alg } = parse(header);
  const { keys } = await (await fetch(metadata.jwks_uri)).json();
  const key = createPublicKey({ key: keys.find((jwk) => jwk.kid === kid), format: 'jwk' });
  const signed = Buffer.from(`${header}.${payload}`);
  const isGenuine = verify('sha256', signed, { key, dsaEncoding: 'ieee-p1363' }, Buffer.from(signature, 'base64url'));
  const claims = parse(payload);
  if (alg !== 'ES256' || !isGenuine) throw new Error('the ID token is not signed by the mint');
  if (claims.iss !== metadata.issuer || claims.aud !== CLIENT_ID || claims.nonce !== nonce || claims.exp < Date.now() / 1000) {
    throw new Error('the ID token is not for this login');
  }
  return claims;
}

http.createServer(async (request, response) => {
  const { pathname, searchParams } = new URL(request.url, origin);
  if (pathname === '/login') return begin(response);
  let content = html`<p><a href="/login">Sign in</a></p>`;
  if (pathname === '/callback') {
    content = await finish(request, searchParams)
      .then((claims) => html`<pre>${JSON.stringify(claims, null, 2)}</pre>`)
      .catch((error) => html`<p>${error.message}</p><p><a href="/login">Once more</a></p>`);
  }
  response.setHeader('Content-Type', 'text/html; charset=utf-8');
  return response.end(html`<!DOCTYPE html><html lang="en"><title>Invoice Desk</title><h1>Invoice Desk</h1>${content}`.toString());
}).listen(Number(PORT), '127.0.0.1', () => console.log(`client is ready at ${origin}`));
