// Key pairs for clients that prove themselves by a key.
// Material: `algorithms`, such as ["ES256", "EdDSA", "PS256"]. Tells for each { alg, public, private }, both JWKs.
import './node18.mjs';
import * as jose from 'jose';
import { material, tell } from './mint.mjs';

const pairs = [];
for (const alg of material.algorithms) {
  const { publicKey, privateKey } = await jose.generateKeyPair(alg, { extractable: true });
  const named = { alg, use: 'sig', kid: await jose.calculateJwkThumbprint(await jose.exportJWK(publicKey)) };
  pairs.push({
    alg,
    public: { ...(await jose.exportJWK(publicKey)), ...named },
    private: { ...(await jose.exportJWK(privateKey)), ...named },
  });
}
tell(pairs);
