// Puts an account into the accounts file, with a password from standard input:
//   node add-account.mjs carol "Carol Clark" carol@example.com <password.txt
import { randomUUID } from 'node:crypto';
import { readFileSync, renameSync, writeFileSync } from 'node:fs';
import { text } from 'node:stream/consumers';
import { fileURLToPath } from 'node:url';
import { hashPassword } from './lib/accounts.mjs';

const [username, name, email] = process.argv.slice(2);
const password = (await text(process.stdin)).replace(/\r?\n$/, '');
if (!email || password.length < 8) {
  console.error('usage: node add-account.mjs USERNAME NAME EMAIL <PASSWORD, of 8 characters or more');
  process.exit(2);
}
const path = process.env.ACCOUNTS ?? fileURLToPath(new URL('accounts.json', import.meta.url));
const accounts = JSON.parse(readFileSync(path, 'utf8'));
accounts[username.toLowerCase()] = {
  subject: randomUUID(),
  password: await hashPassword(password),
  claims: { name, preferred_username: username, email, email_verified: false },
};
writeFileSync(`${path}.new`, `${JSON.stringify(accounts, null, 2)}\n`, { mode: 0o600 });
renameSync(`${path}.new`, path);
