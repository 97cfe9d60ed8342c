// A web application that signs people in by the mint: openid-client, and the addresses where a browser comes back.
import { once } from 'node:events';
import http from 'node:http';
import { text } from 'node:stream/consumers';
import * as client from 'openid-client';
import { material } from './mint.mjs';

export class RelyingParty {
  // The forms that came to /backchannel, and who waits for the next one.
  #told = [];
  #waiting = [];
  #arrived;

  // `port` is 0 for one that is free.
  static async start(config, port = 0) {
    const party = new RelyingParty();
    party.config = config;
    party.server = http.createServer((request, response) => party.#answer(request, response)).listen(port, '127.0.0.1');
    await once(party.server, 'listening');
    party.origin = `http://127.0.0.1:${party.server.address().port}`;
    party.redirectUri = `${party.origin}/callback`;
    return party;
  }

  async #answer(request, response) {
    const url = new URL(request.url, this.origin);
    if (request.method === 'POST') {
      this.#told.push(new URLSearchParams(await text(request)));
      this.#waiting.shift()?.();
      response.end();
      return;
    }
    if (['/callback', '/signed-out'].includes(url.pathname)) this.#arrived = url;
    response.setHeader('Content-Type', 'text/html').end('<!DOCTYPE html><link rel="icon" href="data:,"><h1>The application</h1>');
  }

  // What the mint says behind the browser's back (Back-Channel Logout 1.0 §2.5).
  async told() {
    if (this.#told.length === 0) await new Promise((resolve) => this.#waiting.push(resolve));
    return this.#told.shift();
  }

  // Where the browser came back to, once.
  arrived() {
    const url = this.#arrived;
    this.#arrived = undefined;
    return url;
  }

  // Begins a login with PKCE, state and nonce; `isPushed` by PAR.
  async begin(parameters, isPushed = false) {
    const checks = {
      pkceCodeVerifier: client.randomPKCECodeVerifier(),
      expectedState: client.randomState(),
      expectedNonce: client.randomNonce(),
    };
    const whole = {
      redirect_uri: this.redirectUri,
      code_challenge: await client.calculatePKCECodeChallenge(checks.pkceCodeVerifier),
      code_challenge_method: 'S256',
      state: checks.expectedState,
      nonce: checks.expectedNonce,
      ...parameters,
    };
    if (parameters.max_age !== undefined) checks.maxAge = Number(parameters.max_age);
    const url = isPushed
      ? await client.buildAuthorizationUrlWithPAR(this.config, whole)
      : client.buildAuthorizationUrl(this.config, whole);
    return { url, checks };
  }

  // Redeems what the browser came back with. openid-client checks iss, state, nonce, PKCE, and the ID token.
  finish({ checks }) {
    return client.authorizationCodeGrant(this.config, this.arrived(), { idTokenExpected: true, ...checks });
  }

  // A whole login, in which `act` is what the person does about the pages that come.
  async login(person, parameters, act = () => {}, isPushed = false) {
    const begun = await this.begin(parameters, isPushed);
    await person.visit(begun.url);
    await act(person);
    return this.finish(begun);
  }

  async close() {
    this.server.close();
    this.server.closeAllConnections?.();
  }
}

// A client of the mint that its OpenID Connect metadata describe.
export function discovered(id, authentication) {
  return client.discovery(new URL(material.issuer), id, {}, authentication, { execute: [client.allowInsecureRequests] });
}

// The code of the error (OpenID Connect Core §3.1.2.6) that a login comes back with.
export async function refusal(login) {
  const outcome = await login.then(() => 'granted', (error) => error);
  if (outcome instanceof client.AuthorizationResponseError) return outcome.error;
  throw outcome;
}
