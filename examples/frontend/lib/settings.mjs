// The settings, from environment variables.
import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

const here = (name) => fileURLToPath(new URL(`../${name}`, import.meta.url));

// All that the front-end is told, or an error that names the variable and what was expected.
export function settings(environment = process.env) {
  const listen = environment.LISTEN ?? '127.0.0.1:8090';
  const [, host, port] = /^\[?([^\]]+)\]?:(\d+)$/.exec(listen) ?? expected('LISTEN', 'address:port', listen);
  const baseUrl = environment.BASE_URL && address('BASE_URL', environment.BASE_URL);
  return {
    host,
    port: Number(port),
    // What a browser calls us, where a TLS proxy stands before us. Without it: where we listen.
    baseUrl: baseUrl?.origin,
    title: environment.TITLE ?? 'Example Identity',
    mint: mint(environment),
    accounts: json('ACCOUNTS', environment.ACCOUNTS ?? here('accounts.json')),
    clients: json('CLIENTS', environment.CLIENTS ?? here('clients.json')),
  };
}

// `MINT` is `unix:/path/of.sock` or an http(s) URL. On a Unix socket our uid may be proof enough: no token then.
function mint({ MINT, MINT_TOKEN, MINT_TOKEN_FILE }) {
  const token = MINT_TOKEN_FILE ? file('MINT_TOKEN_FILE', MINT_TOKEN_FILE).trim() : MINT_TOKEN;
  if (MINT?.startsWith('unix:/')) {
    return { socketPath: MINT.slice('unix:'.length), token };
  }
  const url = address('MINT', MINT);
  return { url: url.href.replace(/\/$/, ''), token: token ?? expected('MINT_TOKEN', 'the token of this front-end') };
}

function address(name, text) {
  try {
    const url = new URL(text);
    if (['http:', 'https:'].includes(url.protocol)) return url;
  } catch {}
  return expected(name, name === 'MINT' ? 'unix:/path or an http(s) URL' : 'an http(s) URL', text);
}

function file(name, path) {
  try {
    return readFileSync(path, 'utf8');
  } catch (error) {
    return expected(name, 'a readable file', `${path} (${error.code})`);
  }
}

function json(name, path) {
  const text = file(name, path);
  try {
    return JSON.parse(text);
  } catch (error) {
    return expected(name, 'JSON', `${path}: ${error.message}`);
  }
}

function expected(name, what, found = 'nothing') {
  throw new Error(`${name}: expected ${what}, found ${found}`);
}
