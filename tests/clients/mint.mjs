// What the scripts share. A script reads its material, one JSON value, from standard input, does one thing as a client
// of the mint would, and writes what it learned to standard output, as JSON. Whatever goes wrong ends it by an exception.
import './node18.mjs';
import { text } from 'node:stream/consumers';
import * as jose from 'jose';
import * as client from 'openid-client';

// `issuer`, the identifier, which is where the mint listens; further members as the script says.
export const material = JSON.parse(await text(process.stdin));

// A client of the mint that the metadata (RFC 8414) describe. `statuses` is filled with those of its requests.
export async function discovered(id, authentication, metadata = {}) {
  const config = await client.discovery(new URL(material.issuer), id, metadata, authentication, {
    algorithm: 'oauth2',
    execute: [client.allowInsecureRequests],
  });
  const statuses = [];
  config[client.customFetch] = async (...request) => {
    const response = await fetch(...request);
    statuses.push(response.status);
    return response;
  };
  return { config, statuses };
}

// The claims of an access token (RFC 9068) for `audience`, verified by the published keys.
export async function verified(config, token, audience) {
  const { issuer } = config.serverMetadata();
  const { payload } = await jose.jwtVerify(token, keys(config), {
    issuer,
    audience,
    typ: 'at+jwt',
    algorithms: ['ES256'],
    requiredClaims: ['sub', 'client_id', 'iat', 'exp', 'jti'],
  });
  return payload;
}

export function keys(config) {
  return jose.createRemoteJWKSet(new URL(config.serverMetadata().jwks_uri));
}

// The code of the error (RFC 6749 §5.2) by which `promise` fails.
export async function refusal(promise) {
  const outcome = await promise.then(() => 'granted', (error) => error);
  if (outcome instanceof client.ResponseBodyError) {
    return outcome.error;
  }
  // A 401 with a challenge, whose body openid-client leaves alone.
  if (outcome instanceof client.WWWAuthenticateChallengeError) {
    return (await outcome.response.json()).error;
  }
  throw outcome;
}

export function tell(result) {
  console.log(JSON.stringify(result));
}
