// mintkeep's signing API (`POST /admin/v1/sign`), and a key of it for node-oidc-provider.
import { createPublicKey } from 'node:crypto';
import http from 'node:http';
import https from 'node:https';
import { text } from 'node:stream/consumers';
import { ExternalSigningKey } from 'oidc-provider';

const TIMEOUT_MILLISECONDS = 10_000;

export class Mint {
  #place;

  // `place` is `unix:/path/of.sock` or an http(s) URL; on a Unix socket our uid may be proof enough: no token then.
  constructor(place, profile, token) {
    this.#place = place;
    this.profile = profile;
    this.token = token;
  }

  // The public keys of the profile as JWKs, first the one that signs.
  async keys() {
    return (await this.#ask('GET', `/admin/v1/sign/${encodeURIComponent(this.profile)}/jwks`)).keys;
  }

  // Has `input`, the header and the claims of a JWS as they are to be signed, signed by the key that its header names,
  // after the keeper has held it against the profile: r and s, 64 bytes.
  async sign(input) {
    const { signature } = await this.#ask('POST', '/admin/v1/sign', { profile: this.profile, signing_input: input });
    return Buffer.from(signature, 'base64url');
  }

  async #ask(method, path, value) {
    const isSocket = this.#place.startsWith('unix:');
    const address = new URL(path, isSocket ? 'http://mint' : this.#place);
    const body = value === undefined ? undefined : JSON.stringify(value);
    const response = await new Promise((resolve, reject) => {
      const asked = (address.protocol === 'https:' ? https : http).request(address, {
        method,
        socketPath: isSocket ? this.#place.slice('unix:'.length) : undefined,
        timeout: TIMEOUT_MILLISECONDS,
        headers: {
          ...(body && { 'content-type': 'application/json', 'content-length': Buffer.byteLength(body) }),
          ...(this.token && { authorization: `Bearer ${this.token}` }),
        },
      }, resolve);
      asked.on('timeout', () => asked.destroy(new Error('the mint did not answer in time')));
      asked.on('error', reject);
      asked.end(body);
    });
    const answer = await text(response);
    if (response.statusCode !== 200) {
      throw new Error(`the mint answered ${response.statusCode}: ${answer}`);
    }
    return JSON.parse(answer);
  }
}

// A key whose private part is in the hardware.
export class MintKey extends ExternalSigningKey {
  #mint;
  #publicKey;

  constructor(mint, jwk) {
    super();
    this.#mint = mint;
    this.#publicKey = createPublicKey({ key: jwk, format: 'jwk' });
    this.kid = jwk.kid;
    this.alg = jwk.alg;
  }

  keyObject() {
    return this.#publicKey;
  }

  // `data` is `base64url(header).base64url(claims)`.
  sign(data) {
    return this.#mint.sign(data.toString());
  }
}
