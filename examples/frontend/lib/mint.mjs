// The mint's front-end API: logins, devices and logouts that a person has to decide.
import http from 'node:http';
import https from 'node:https';

const TIMEOUT_MILLISECONDS = 10_000;
const LONGEST_ANSWER = 1024 * 1024;

// The mint said no, or nothing. `status` is 0 where it could not be asked. The message holds no handle.
export class MintError extends Error {
  constructor(status, code) {
    super(`the mint answered ${status || 'nothing'}: ${code}`);
    this.status = status;
  }
}

export class Mint {
  #place;

  // `place` is { socketPath, token? } or { url, token }.
  constructor(place) {
    this.#place = place;
  }

  // What a client asks for: { client_id, redirect_uri, scope, prompt?, max_age?, login_hint?, acr_values?, subject?, … }.
  login(handle) {
    return this.#ask('GET', path('logins', handle));
  }

  // `who` is { subject, scope, auth_time, acr, amr, claims, session }. Where the browser goes with the answer.
  async acceptLogin(handle, who) {
    return (await this.#ask('POST', path('logins', handle, 'accept'), who)).redirect_to;
  }

  async refuseLogin(handle, error) {
    return (await this.#ask('POST', path('logins', handle, 'refuse'), { error })).redirect_to;
  }

  // A device's user code as it was typed; the mint knows how to read it (RFC 8628 §6.1).
  device(userCode) {
    return this.#ask('GET', path('devices', userCode));
  }

  acceptDevice(userCode, who) {
    return this.#ask('POST', path('devices', userCode, 'accept'), who);
  }

  refuseDevice(userCode) {
    return this.#ask('POST', path('devices', userCode, 'refuse'), { error: 'access_denied' });
  }

  logout(handle) {
    return this.#ask('GET', path('logouts', handle));
  }

  // Where the browser goes; nothing where the client did not say.
  async acceptLogout(handle) {
    return (await this.#ask('POST', path('logouts', handle, 'accept'), {})).redirect_to;
  }

  // Revokes all that was granted in a session, and tells its clients.
  endSession(session) {
    return this.#ask('POST', '/admin/v1/sessions/end', { session });
  }

  async #ask(method, path, value) {
    const { socketPath, url, token } = this.#place;
    const body = value === undefined ? undefined : JSON.stringify(value);
    const options = {
      method,
      socketPath,
      timeout: TIMEOUT_MILLISECONDS,
      headers: {
        accept: 'application/json',
        ...(body && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
        ...(token && { authorization: `Bearer ${token}` }),
      },
    };
    const address = `${url ?? 'http://mint'}${path}`;
    const { status, text } = await exchange(address, options, body).catch((error) => {
      throw new MintError(0, error.code ?? error.message);
    });
    let answer;
    try {
      answer = text ? JSON.parse(text) : {};
    } catch {
      throw new MintError(status, 'no JSON');
    }
    if (status < 200 || status > 299) {
      throw new MintError(status, answer.error);
    }
    return answer;
  }
}

function path(...segments) {
  return `/admin/v1/${segments.map(encodeURIComponent).join('/')}`;
}

function exchange(address, options, body) {
  return new Promise((resolve, reject) => {
    const { request } = address.startsWith('https:') ? https : http;
    const asked = request(address, options, (response) => {
      let text = '';
      response.setEncoding('utf8');
      response.on('data', (part) => {
        text += part;
        if (text.length > LONGEST_ANSWER) response.destroy(new Error('a very long answer'));
      });
      response.on('end', () => resolve({ status: response.statusCode, text }));
      response.on('error', reject);
    });
    asked.on('timeout', () => asked.destroy(new Error('no answer in time')));
    asked.on('error', reject);
    asked.end(body);
  });
}
