// node-oidc-provider, its signing keys in mintkeep's hardware. See README.md.
import { randomBytes } from 'node:crypto';
import { readFileSync } from 'node:fs';
import http from 'node:http';
import Provider from 'oidc-provider';
import { Mint, MintKey } from './mint.mjs';

const {
  ISSUER: issuer = 'http://127.0.0.1:3000',
  MINT: place = 'http://127.0.0.1:8080',
  MINT_TOKEN_FILE,
  MINT_TOKEN = MINT_TOKEN_FILE && readFileSync(MINT_TOKEN_FILE, 'utf8').trim(),
  PROFILE: profile = 'oidc-provider',
  REFRESH_SECONDS = '60',
} = process.env;

const configuration = {
  features: {
    // The hook. The version that is acknowledged is the provider's, of what is experimental there.
    externalSigningSupport: { enabled: true, ack: 'experimental-01' },
    // A login page for trials: anybody is who they say they are. Yours goes here.
    devInteractions: { enabled: true },
    // Access tokens as JWTs (RFC 9068), which the same keys sign.
    resourceIndicators: {
      enabled: true,
      defaultResource: () => 'https://api.example.com',
      useGrantedResource: () => true,
      getResourceServerInfo: (context, resource) => ({
        scope: 'openid read:invoices',
        audience: resource,
        accessTokenTTL: 300,
        accessTokenFormat: 'jwt',
        jwt: { sign: { alg: 'ES256' } },
      }),
    },
  },
  // The people that there are. As they are called, here.
  findAccount: (context, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  cookies: { keys: [randomBytes(32).toString('hex')] },
  scopes: ['openid', 'read:invoices'],
  ttl: { AccessToken: 300, IdToken: 3600, Session: 8 * 3600, Grant: 8 * 3600, Interaction: 600 },
  clientDefaults: { id_token_signed_response_alg: 'ES256' },
  clients: [
    {
      client_id: 'demo',
      application_type: 'native',
      token_endpoint_auth_method: 'none',
      grant_types: ['authorization_code'],
      redirect_uris: ['http://127.0.0.1/callback'],
    },
  ],
};

const mint = new Mint(place, profile, MINT_TOKEN);
let kids;
let handle;

// A provider takes its keys once. Another one is made where they change; what it knows is in the adapter, not in it.
async function refresh() {
  const keys = await mint.keys();
  const found = keys.map(({ kid }) => kid).join(' ');
  if (found === kids) return;
  const jwks = { keys: keys.map((jwk) => new MintKey(mint, jwk)) };
  const provider = new Provider(issuer, { ...configuration, jwks });
  provider.on('server_error', (context, error) => console.error(error.message));
  kids = found;
  handle = provider.callback();
}

await refresh();
setInterval(() => refresh().catch((error) => console.error(error.message)), Number(REFRESH_SECONDS) * 1000).unref();

const { hostname, port } = new URL(issuer);
http.createServer((request, response) => handle(request, response)).listen(Number(port || 80), hostname, () => {
  console.log(`provider is ready at ${issuer}`);
});
