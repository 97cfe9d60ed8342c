// Browser sessions, in memory: a restart signs everybody out.
import { createHmac, randomBytes, randomUUID, timingSafeEqual } from 'node:crypto';

const LIFETIME_SECONDS = 8 * 60 * 60;
const MOST_SESSIONS = 100_000;

const now = () => Math.floor(Date.now() / 1000);

export class Sessions {
  #sessions = new Map();
  #csrfKey = randomBytes(32);
  #isSecure;

  // `isSecure` where browsers reach us by https.
  constructor(isSecure) {
    this.#isSecure = isSecure;
  }

  get #cookie() {
    // The prefix keeps other hosts of the domain from setting it (RFC 6265bis §4.1.3.2).
    return this.#isSecure ? '__Host-session' : 'session';
  }

  // The session of a request. A visitor without one gets one, for the CSRF token, with the answer.
  of(request, response) {
    const pairs = (request.headers.cookie ?? '').split(';').map((pair) => pair.trim().split('='));
    const id = pairs.find(([name]) => name === this.#cookie)?.[1];
    const session = this.#sessions.get(id);
    if (session && session.ends > now()) return session;
    return this.#begin(response, {});
  }

  // Signs `account` in, in a session with a new id: whoever knew the old one (session fixation) has nothing of it.
  // `amr` is how it was done (RFC 8176).
  signIn(old, response, account, amr) {
    this.#sessions.delete(old.id);
    // What the mint and its clients hear of the session is not what the cookie holds.
    const name = old.person?.subject === account.subject ? old.person.session : randomUUID();
    return this.#begin(response, { person: { ...account, amr, authTime: now(), session: name } });
  }

  end(session, response) {
    this.#sessions.delete(session.id);
    response.setHeader('Set-Cookie', this.#line('', 0));
  }

  csrfToken(session) {
    return createHmac('sha256', this.#csrfKey).update(session.id).digest('base64url');
  }

  isCsrfToken(session, token = '') {
    const expected = Buffer.from(this.csrfToken(session));
    const found = Buffer.from(token);
    return found.length === expected.length && timingSafeEqual(found, expected);
  }

  #begin(response, state) {
    for (const [id, { ends }] of this.#sessions) {
      // They are in the order of their ends.
      if (ends > now() && this.#sessions.size < MOST_SESSIONS) break;
      this.#sessions.delete(id);
    }
    const session = { id: randomBytes(32).toString('base64url'), ends: now() + LIFETIME_SECONDS, ...state };
    this.#sessions.set(session.id, session);
    response.setHeader('Set-Cookie', this.#line(session.id, LIFETIME_SECONDS));
    return session;
  }

  // Lax, not Strict: the mint sends people here from the sites of its clients.
  #line(value, seconds) {
    const secure = this.#isSecure ? '; Secure' : '';
    return `${this.#cookie}=${value}; Path=/; Max-Age=${seconds}; HttpOnly; SameSite=Lax${secure}`;
  }
}

// At most `most` failures of one key in `seconds`.
export class Throttle {
  #failures = new Map();

  constructor(most, seconds) {
    this.most = most;
    this.seconds = seconds;
  }

  isClosed(key) {
    const found = this.#failures.get(key);
    return found !== undefined && found.ends > now() && found.count >= this.most;
  }

  failed(key) {
    for (const [key, { ends }] of this.#failures) {
      if (ends > now() && this.#failures.size < MOST_SESSIONS) break;
      this.#failures.delete(key);
    }
    const found = this.#failures.get(key);
    if (found) found.count += 1;
    else this.#failures.set(key, { count: 1, ends: now() + this.seconds });
  }
}
