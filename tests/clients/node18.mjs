// What Node.js 18, Debian 12's, has under another name and openid-client and jose expect. Imported before both.
import { webcrypto } from 'node:crypto';

globalThis.crypto ??= webcrypto;
globalThis.CryptoKey ??= webcrypto.CryptoKey;
