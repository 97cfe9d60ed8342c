// Sign-out, as an application asks for it through the mint (RP-Initiated Logout 1.0) or a person does here.
import { MintError } from './mint.mjs';
import * as pages from './pages.mjs';

export class Logout {
  #front;

  constructor(front) {
    this.#front = front;
  }

  // GET /logout, with ?logout=HANDLE from the mint. Asked first: any site can send somebody here.
  async show(visit) {
    const logout = visit.query.get('logout') ?? undefined;
    const request = logout && (await this.#front.mint.logout(logout));
    const client = request?.client_id ? this.#front.client(request) : undefined;
    const view = { ...this.#front.view(visit), hidden: { logout }, client };
    return { page: pages.signOut({ ...view, person: visit.session.person }) };
  }

  // POST /logout
  async signOut(visit) {
    const { form, session, response } = visit;
    const { mint, sessions, site } = this.#front;
    // Here first, whatever the mint says.
    sessions.end(session, response);
    if (session.person) {
      await mint.endSession(session.person.session).catch(unlessGone);
    }
    const logout = form.get('logout');
    const address = logout && (await mint.acceptLogout(logout).catch(unlessGone));
    if (address) {
      return { page: pages.leaving({ site, address, name: 'where you came from' }) };
    }
    return { page: pages.notice({ site, title: 'You are signed out', text: 'You can close this page.' }) };
  }
}

function unlessGone(error) {
  if (!(error instanceof MintError) || error.status !== 404) throw error;
}
