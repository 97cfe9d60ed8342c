// A person with a browser: Debian's Chromium without a window, which runs no script here, as the pages need none.
import './node18.mjs';
import puppeteer from 'puppeteer-core';

const PATIENCE_MILLISECONDS = 30_000;

// Runs `act` with a person whose browser is new, and ends it.
export async function withPerson(act) {
  const isRoot = process.getuid() === 0;
  const browser = await puppeteer.launch({
    executablePath: process.env.CHROMIUM ?? '/usr/bin/chromium',
    // Chromium's own sandbox does not start under root.
    args: ['--disable-dev-shm-usage', '--disable-gpu', ...(isRoot ? ['--no-sandbox'] : [])],
    pipe: true,
    timeout: PATIENCE_MILLISECONDS,
  });
  try {
    return await act(await Person.in(browser));
  } finally {
    await browser.close();
  }
}

export class Person {
  // The page; where all its requests went; what the browser complained of; the answers it got.
  requested = new Set();
  complaints = [];
  answers = [];

  static async in(browser) {
    const person = new Person();
    person.browser = browser;
    const context = await browser.createBrowserContext();
    const page = (person.page = await context.newPage());
    page.setDefaultTimeout(PATIENCE_MILLISECONDS);
    await page.setJavaScriptEnabled(false);
    page.on('request', (request) => person.requested.add(new URL(request.url()).origin));
    page.on('console', (message) => person.complaints.push(message.text()));
    page.on('response', (response) => person.answers.push(response));
    return person;
  }

  // Somebody else, who knows nothing of this one's sessions.
  another() {
    return Person.in(this.browser);
  }

  async visit(url) {
    await this.page.goto(`${url}`);
    await this.settled();
  }

  // A page that only leads on to another one (<meta http-equiv="refresh">) is passed.
  async settled() {
    for (;;) {
      // Listened for before it is looked for, so that it cannot have happened in between.
      const stopped = new AbortController();
      const next = this.page.waitForNavigation({ signal: stopped.signal });
      if (await this.page.$('meta[http-equiv="refresh"]').catch(() => true)) {
        await next;
      } else {
        next.catch(() => {});
        stopped.abort();
        return;
      }
    }
  }

  // The one control with this name, as a screen reader says it.
  async #control(role, name) {
    const found = await this.page.$$(`::-p-aria([name="${name}"][role="${role}"])`);
    if (found.length !== 1) throw new Error(`${found.length} of ${role} ${name} on ${await this.heading()}`);
    return found[0];
  }

  async press(name) {
    const button = await this.#control('button', name);
    await Promise.all([this.page.waitForNavigation(), button.click()]);
    await this.settled();
  }

  // Types into the field with this label, in the place of what is there.
  async type(label, text) {
    const field = await this.#control('textbox', label);
    await field.click({ count: 3 });
    await field.press('Backspace');
    await field.type(text);
  }

  // Ticks a check box, or takes the tick away.
  async turn(name) {
    await (await this.#control('checkbox', name)).click();
  }

  async signIn(username, password) {
    await this.type('User name', username);
    await this.type('Password', password);
    await this.press('Sign in');
  }

  heading() {
    return this.page.$eval('h1', (heading) => heading.textContent);
  }

  texts(selector) {
    return this.page.$$eval(selector, (found) => found.map((element) => element.textContent.replace(/\s+/g, ' ').trim()));
  }
}
