// Accounts: a file of demo people, passwords by scrypt, one-time codes by TOTP (RFC 6238) for those who have them.
import { createHmac, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';

// 32 MiB and some 100 ms a try; the numbers stand in each hash, so that they can be raised.
const COST = { N: 2 ** 15, r: 8, p: 1 };
const MEMORY = 128 * 1024 * 1024;
const derive = promisify(scrypt);

// `scrypt$N$r$p$SALT$KEY`, both in base64url.
export async function hashPassword(password) {
  const salt = randomBytes(16);
  const key = await derive(password.normalize('NFC'), salt, 32, { ...COST, maxmem: MEMORY });
  return ['scrypt', COST.N, COST.r, COST.p, salt.toString('base64url'), key.toString('base64url')].join('$');
}

async function isPassword(password, hash) {
  const [, N, r, p, salt, key] = hash.split('$');
  const expected = Buffer.from(key, 'base64url');
  const cost = { N: Number(N), r: Number(r), p: Number(p), maxmem: MEMORY };
  const derived = await derive(password.normalize('NFC'), Buffer.from(salt, 'base64url'), expected.length, cost);
  return timingSafeEqual(derived, expected);
}

export class Accounts {
  #accounts;
  // Nobody has it. It is tried where there is no such account, which then takes as long.
  #nobody = hashPassword(randomBytes(16).toString('hex'));
  #lastStep = new Map();

  // `accounts` is { username: { subject, password, otp_secret?, claims } }.
  constructor(accounts) {
    this.#accounts = new Map(Object.entries(accounts));
  }

  // The account { username, subject, claims, hasOtp }, or nothing.
  async withPassword(username, password) {
    const name = username.trim().toLowerCase();
    const account = this.#accounts.get(name);
    const isRight = await isPassword(password, account?.password ?? (await this.#nobody));
    if (!account || !isRight) return undefined;
    return { username: name, subject: account.subject, claims: account.claims, hasOtp: Boolean(account.otp_secret) };
  }

  // Whether `code` is the one-time code of now or of the step before, and was not used (RFC 6238 §5.2).
  isCode(username, code, now = Date.now()) {
    const { otp_secret: secret } = this.#accounts.get(username);
    const step = Math.floor(now / 30_000);
    const used = this.#lastStep.get(username) ?? 0;
    const found = [step - 1, step].find((step) => step > used && isSame(oneTimeCode(secret, step), code.trim()));
    if (found) this.#lastStep.set(username, found);
    return found !== undefined;
  }
}

// HOTP (RFC 4226) of six digits for a time step; the secret is base32, as authenticator apps read it.
export function oneTimeCode(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac('sha1', base32(secret)).update(counter).digest();
  const number = mac.readUInt32BE(mac[19] & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, '0');
}

function base32(text) {
  const bits = [...text].map((letter) => 'ABCDEFGHIJKLMNOPQRSTUVWXYZ234567'.indexOf(letter).toString(2).padStart(5, '0'));
  return Buffer.from(bits.join('').match(/.{8}/g).map((byte) => parseInt(byte, 2)));
}

function isSame(expected, found) {
  return found.length === expected.length && timingSafeEqual(Buffer.from(found), Buffer.from(expected));
}
