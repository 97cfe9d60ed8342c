// A login that the mint sent here: sign in, a second factor where it is wanted, consent, and back.
import * as pages from './pages.mjs';
import { answer, now, wantsSecondFactor, words } from './person.mjs';

export class Login {
  #front;
  // What was consented to: [subject, client] -> { asked, chosen }.
  #consents = new Map();

  constructor(front) {
    this.#front = front;
  }

  // GET /login?login=HANDLE
  async show(visit) {
    const login = visit.query.get('login');
    const request = await this.#front.mint.login(login);
    if (visit.query.get('as') === 'another' && !words(request.prompt).includes('none')) {
      return this.#signIn(visit, login, request);
    }
    return this.#proceed(visit, login, request);
  }

  // POST /login, of the sign-in page of a login or of the device page.
  async signIn(visit) {
    const { form, session, response, source } = visit;
    const login = form.get('login') ?? undefined;
    const request = login && (await this.#front.mint.login(login));
    if (login && form.get('decision') === 'cancel') {
      return this.#refuse(login, request, 'access_denied');
    }
    const username = form.get('username') ?? '';
    const attempts = [source, `${source} ${username.toLowerCase()}`];
    const { failures, accounts, sessions } = this.#front;
    if (attempts.some((key) => failures.isClosed(key))) {
      return this.#signIn(visit, login, request, 'Too many attempts. Wait a few minutes, then try again.', 429);
    }
    const account = await accounts.withPassword(username, form.get('password') ?? '');
    if (!account) {
      attempts.forEach((key) => failures.failed(key));
      return this.#signIn(visit, login, request, 'User name and password do not belong together.', 401);
    }
    visit.session = sessions.signIn(session, response, account, ['pwd']);
    if (!login) {
      return this.#front.device.show(visit, form.get('user_code'));
    }
    visit.session.freshFor = login;
    return this.#proceed(visit, login, request);
  }

  // POST /code
  async secondFactor(visit) {
    const { form, session, response, source } = visit;
    const login = form.get('login');
    const request = await this.#front.mint.login(login);
    if (form.get('decision') === 'cancel') {
      return this.#refuse(login, request, 'access_denied');
    }
    const { person } = session;
    if (!person?.hasOtp) {
      return this.#proceed(visit, login, request);
    }
    const { failures, accounts, sessions } = this.#front;
    const attempt = `code ${person.username}`;
    if (failures.isClosed(attempt)) {
      return this.#code(visit, login, request, 'Too many attempts. Wait a few minutes, then try again.', 429);
    }
    if (!accounts.isCode(person.username, form.get('code') ?? '')) {
      failures.failed(attempt);
      return this.#code(visit, login, request, 'That is not the code of this moment.', 401);
    }
    visit.session = sessions.signIn(session, response, person, ['pwd', 'otp', 'mfa']);
    visit.session.freshFor = session.freshFor;
    return this.#proceed(visit, login, request);
  }

  // POST /consent
  async consent(visit) {
    const { form, session } = visit;
    const login = form.get('login');
    const request = await this.#front.mint.login(login);
    if (needed(session, login, request)) {
      return this.#proceed(visit, login, request);
    }
    const asked = words(request.scope);
    const ticked = form.getAll('scope');
    const chosen = asked.filter((scope) => scope === 'openid' || ticked.includes(scope));
    if (form.get('decision') !== 'accept' || (asked.length > 0 && chosen.length === 0)) {
      return this.#refuse(login, request, 'access_denied');
    }
    this.#consents.set(consentKey(session.person, request), { asked, chosen });
    return this.#accept(visit, login, request, chosen);
  }

  // The next step, from whichever came before.
  async #proceed(visit, login, request) {
    const { session } = visit;
    const prompts = words(request.prompt);
    const missing = needed(session, login, request);
    if (missing && prompts.includes('none')) {
      return this.#refuse(login, request, 'login_required');
    }
    if (missing === 'code') {
      return this.#code(visit, login, request);
    }
    if (missing) {
      const isOther = session.freshFor === login;
      return this.#signIn(visit, login, request, isOther ? 'The application asks for another account.' : undefined);
    }
    const asked = words(request.scope);
    const consented = this.#consents.get(consentKey(session.person, request));
    const client = this.#front.client(request);
    if (!prompts.includes('consent')) {
      if (client.first_party) return this.#accept(visit, login, request, asked);
      if (consented && asked.every((scope) => consented.asked.includes(scope))) {
        return this.#accept(visit, login, request, asked.filter((scope) => consented.chosen.includes(scope)));
      }
    }
    if (prompts.includes('none')) {
      return this.#refuse(login, request, 'consent_required');
    }
    const { person } = session;
    const view = { ...this.#view(visit, login, request), person, names: asked, returnsTo: place(request.redirect_uri) };
    return { page: pages.consent({ ...view, other: `/login?${new URLSearchParams({ login, as: 'another' })}` }) };
  }

  async #accept(visit, login, request, scopes) {
    return this.#back(request, await this.#front.mint.acceptLogin(login, answer(visit.session.person, scopes)));
  }

  async #refuse(login, request, error) {
    return this.#back(request, await this.#front.mint.refuseLogin(login, error));
  }

  #back(request, address) {
    // Nobody looks where nobody is to be asked, and where it is a frame nothing is to be shown.
    if (words(request.prompt).includes('none')) {
      return { redirect: address };
    }
    return { page: pages.leaving({ site: this.#front.site, address, name: this.#front.client(request).name }) };
  }

  #signIn(visit, login, request, error, status = 200) {
    const username = visit.form?.get('username') ?? request?.login_hint;
    const view = request
      ? this.#view(visit, login, request)
      : { ...this.#front.view(visit), hidden: { user_code: visit.form?.get('user_code') ?? '' } };
    return { status, page: pages.signIn({ ...view, username, error }) };
  }

  #code(visit, login, request, error, status = 200) {
    return { status, page: pages.oneTimeCode({ ...this.#view(visit, login, request), error }) };
  }

  #view(visit, login, request) {
    return { ...this.#front.view(visit), hidden: { login }, client: this.#front.client(request) };
  }
}

// What has to be done before `request` can be accepted: 'password', 'code', or nothing.
function needed({ person, freshFor }, login, request) {
  if (!person || (request.subject !== undefined && request.subject !== person.subject)) {
    return 'password';
  }
  const prompts = words(request.prompt);
  const isOld = request.max_age !== undefined && (request.max_age === 0 || now() - person.authTime > request.max_age);
  if (freshFor !== login && (prompts.includes('login') || prompts.includes('select_account') || isOld)) {
    return 'password';
  }
  return wantsSecondFactor(request) && person.hasOtp && !person.amr.includes('otp') ? 'code' : undefined;
}

function consentKey(person, request) {
  return JSON.stringify([person.subject, request.client_id]);
}

// Where a redirect URI leads, as a person reads it: a host, or an app on the device (RFC 8252 §7.1).
function place(uri) {
  const { host, protocol } = new URL(uri);
  return host || `the app of ${protocol.slice(0, -1)}`;
}
