// The device flow (RFC 8628): the page where a person types the code that a device shows.
import { MintError } from './mint.mjs';
import * as pages from './pages.mjs';
import { answer, words } from './person.mjs';

export class Device {
  #front;

  constructor(front) {
    this.#front = front;
  }

  // GET /device, with ?user_code= where the device gave a link: the code is still to be confirmed (RFC 8628 §3.3.1).
  show(visit, code = visit.query.get('user_code') ?? undefined) {
    const view = this.#front.view(visit);
    const { person } = visit.session;
    return {
      page: person
        ? pages.deviceCode({ ...view, person, code })
        : pages.signIn({ ...view, hidden: { user_code: code ?? '' } }),
    };
  }

  // POST /device
  async check(visit) {
    const { form, session, source } = visit;
    const code = form.get('user_code') ?? '';
    const { person } = session;
    if (!person) {
      return this.show(visit, code);
    }
    // A code is short: few guesses (RFC 8628 §5.1).
    const attempts = [`device ${source}`, `device ${person.subject}`];
    const { failures, mint } = this.#front;
    if (attempts.some((key) => failures.isClosed(key))) {
      return this.#again(visit, code, 'Too many attempts. Wait a few minutes, then try again.', 429);
    }
    try {
      const request = await mint.device(code);
      const view = { ...this.#front.view(visit), client: this.#front.client(request), person };
      return { page: pages.deviceConsent({ ...view, code: request.user_code ?? code, names: words(request.scope) }) };
    } catch (error) {
      if (!(error instanceof MintError) || ![400, 404, 409].includes(error.status)) throw error;
      attempts.forEach((key) => failures.failed(key));
      return this.#again(visit, code, 'There is no such code, or it has ended. Look at your device again.', 404);
    }
  }

  // POST /device/decide
  async decide(visit) {
    const { form, session } = visit;
    const code = form.get('user_code') ?? '';
    if (!session.person) {
      return this.show(visit, code);
    }
    const { mint } = this.#front;
    if (form.get('decision') !== 'accept') {
      await mint.refuseDevice(code);
      return this.#done('Denied', 'The device gets nothing. You can close this page.');
    }
    const request = await mint.device(code);
    await mint.acceptDevice(code, answer(session.person, words(request.scope)));
    return this.#done('Your device is connected', 'It goes on by itself. You can close this page.');
  }

  #again(visit, code, error, status) {
    return { status, page: pages.deviceCode({ ...this.#front.view(visit), person: visit.session.person, code, error }) };
  }

  #done(title, text) {
    return { page: pages.notice({ site: this.#front.site, title, text }) };
  }
}
