// The pages. No script, nothing from elsewhere: what a page needs is here and in style.css.
import { html } from './html.mjs';

const SCOPES = {
  openid: ['Know who you are', 'An identifier of your account'],
  profile: ['See your profile', 'Your name and user name'],
  email: ['See your e-mail address', 'And whether it was verified'],
  offline_access: ['Stay connected', 'Keep its access while you are away'],
};

const MARK = html`<svg class="mark" viewBox="0 0 48 48" aria-hidden="true" focusable="false">
<path d="M24 3 42 9v13c0 11.2-7.4 19.3-18 23C13.4 41.3 6 33.2 6 22V9z"/>
<circle cx="24" cy="20" r="5.5"/><path class="stem" d="M24 25v9m0-3.5h4"/></svg>`;

// `title` is what the tab shows before the name of the service.
function page(site, title, content, head) {
  return html`<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<meta name="color-scheme" content="light dark">
<title>${title} · ${site}</title>
<link rel="stylesheet" href="/style.css">
<link rel="icon" href="/icon.svg" type="image/svg+xml">${head}
</head>
<body>
<header>${MARK}<span>${site}</span></header>
<main>
${content}
</main>
<footer>Keys and tokens by mintkeep, in hardware</footer>
</body>
</html>
`.toString();
}

function form(csrf, action, hidden, content) {
  const fields = Object.entries({ csrf, ...hidden }).filter(([, value]) => value !== undefined);
  return html`<form method="post" action="${action}">
${fields.map(([name, value]) => html`<input type="hidden" name="${name}" value="${value}">`)}
${content}
</form>`;
}

// A text field with its label, and what was wrong with it.
function field(label, name, { error, hint, ...attributes }) {
  const notes = [hint && `${name}-hint`, error && `${name}-error`].filter(Boolean).join(' ');
  const rest = Object.entries(attributes).filter(([, value]) => value !== undefined && value !== false);
  return html`<div class="field">
<label for="${name}">${label}</label>
<input id="${name}" name="${name}" required${notes && html` aria-describedby="${notes}"`}${error && html` aria-invalid="true"`}${rest.map(
    ([key, value]) => (value === true ? html` ${key}` : html` ${key}="${value}"`),
  )}>
${hint && html`<p class="hint" id="${name}-hint">${hint}</p>`}
${error && html`<p class="error" id="${name}-error" role="alert">${error}</p>`}
</div>`;
}

// Who is asking, as the person should know it.
function asker(client) {
  return html`<strong>${client.name}</strong>`;
}

export function signIn({ site, csrf, hidden, client, username, error }) {
  const content = html`<h1>Sign in</h1>
<p class="lead">${client ? html`to continue to ${asker(client)}` : 'with your account'}</p>
${form(csrf, '/login', hidden, html`${field('User name', 'username', {
    type: 'text', value: username, autocomplete: 'username', autocapitalize: 'none', spellcheck: 'false',
    maxlength: 128, autofocus: !username,
  })}
${field('Password', 'password', {
    type: 'password', autocomplete: 'current-password', maxlength: 256, autofocus: Boolean(username), error,
  })}
<div class="buttons">
<button name="decision" value="accept">Sign in</button>
${hidden.login && html`<button class="quiet" name="decision" value="cancel" formnovalidate>Cancel</button>`}
</div>`)}`;
  return page(site, 'Sign in', content);
}

export function oneTimeCode({ site, csrf, hidden, client, error }) {
  const content = html`<h1>One more step</h1>
<p class="lead">${client ? html`${asker(client)} asks for a second proof that it is you` : 'A second proof that it is you'}</p>
${form(csrf, '/code', hidden, html`${field('One-time code', 'code', {
    type: 'text', inputmode: 'numeric', pattern: '[0-9]{6}', maxlength: 6, autocomplete: 'one-time-code',
    class: 'code', autofocus: true, hint: 'Six digits, from your authenticator app', error,
  })}
<div class="buttons">
<button name="decision" value="accept">Continue</button>
<button class="quiet" name="decision" value="cancel" formnovalidate>Cancel</button>
</div>`)}`;
  return page(site, 'One-time code', content);
}

// What is asked for, in the words of the client's entry or ours; to be chosen from where there are boxes.
function scopes(names, client, hasBoxes) {
  return html`<ul class="scopes">${names.map((name) => {
    const [title, explanation] = client.scopes?.[name] ?? SCOPES[name] ?? [name, 'As the service names it'];
    const text = html`<span><span class="title">${title}</span> <span class="hint">${explanation}</span></span>`;
    // Who somebody is cannot be left out of saying who it is.
    const state = name === 'openid' ? html`checked disabled` : html`name="scope" value="${name}" checked`;
    return html`<li>${hasBoxes ? html`<label><input type="checkbox" ${state}>${text}</label>` : text}</li>`;
  })}</ul>`;
}

function signedInAs(person, other) {
  return html`<p class="person"><span class="avatar" aria-hidden="true">${[...person.claims.name][0]}</span>
<span>${person.claims.name}<br><span class="hint">${person.claims.email}</span></span>
${other && html`<a href="${other}">Not you?</a>`}</p>`;
}

export function consent({ site, csrf, hidden, client, person, names, returnsTo, other }) {
  const content = html`<h1>Allow ${client.name}?</h1>
<p class="lead">${client.description ?? 'An application'}</p>
${signedInAs(person, other)}
${form(csrf, '/consent', hidden, html`<fieldset>
<legend>It would like to</legend>
${scopes(names, client, true)}
</fieldset>
<div class="buttons">
<button name="decision" value="accept">Allow</button>
<button class="quiet" name="decision" value="deny">Deny</button>
</div>
<p class="hint">Either way you go on to <strong>${returnsTo}</strong>. Allow only what you came for.</p>`)}`;
  return page(site, `Allow ${client.name}?`, content);
}

export function deviceCode({ site, csrf, person, code, error }) {
  const content = html`<h1>Connect a device</h1>
<p class="lead">Type the code that your device shows</p>
${signedInAs(person)}
${form(csrf, '/device', {}, html`${field('Code', 'user_code', {
    type: 'text', value: code, maxlength: 32, autocomplete: 'off', autocapitalize: 'characters', spellcheck: 'false',
    class: 'code', autofocus: true, error,
  })}
<div class="buttons"><button>Continue</button></div>`)}`;
  return page(site, 'Connect a device', content);
}

export function deviceConsent({ site, csrf, client, person, code, names }) {
  const content = html`<h1>Connect ${client.name}?</h1>
<p class="lead">${client.description ?? 'An application on a device'}</p>
${signedInAs(person)}
<p>Your device has to show this code:</p>
<p class="shown-code">${code}</p>
${form(csrf, '/device/decide', { user_code: code }, html`<fieldset>
<legend>The device would like to</legend>
${scopes(names, client, false)}
</fieldset>
<div class="buttons">
<button name="decision" value="accept">Approve</button>
<button class="quiet" name="decision" value="deny">Deny</button>
</div>
<p class="hint">Did somebody send you the code, or a link with it? Then deny: it would connect <em>their</em> device to
your account.</p>`)}`;
  return page(site, `Connect ${client.name}?`, content);
}

export function signOut({ site, csrf, hidden, client, person }) {
  const content = html`<h1>Sign out?</h1>
<p class="lead">${client ? html`${asker(client)} asks to sign you out, here and` : 'You will be signed out here and'}
in the applications that you signed in to</p>
${person && signedInAs(person)}
${form(csrf, '/logout', hidden, html`<div class="buttons">
<button name="decision" value="accept">Sign out</button>
<a class="button quiet" href="/">Stay signed in</a>
</div>`)}`;
  return page(site, 'Sign out', content);
}

export function home({ site, person }) {
  const content = person
    ? html`<h1>Hello, ${person.claims.given_name ?? person.claims.name}</h1>
<p class="lead">You are signed in</p>
${signedInAs(person)}
<div class="buttons"><a class="button" href="/device">Connect a device</a><a class="button quiet" href="/logout">Sign out</a></div>`
    : html`<h1>Hello</h1>
<p class="lead">Nobody is signed in here. Applications send you to this place when they need to know who you are.</p>
<div class="buttons"><a class="button" href="/device">Connect a device</a></div>`;
  return page(site, 'Your account', content);
}

// A refresh and no redirect: the policy `form-action` of a page would hold for the redirects behind its forms too.
export function leaving({ site, address, name }) {
  const content = html`<h1>One moment</h1>
<p class="lead">On to ${name}</p>
<div class="buttons"><a class="button" href="${address}">Continue</a></div>`;
  return page(site, 'One moment', content, html`
<meta http-equiv="refresh" content="0;url=${address}">`);
}

export function notice({ site, title, text }) {
  const content = html`<h1>${title}</h1>
<p class="lead" role="status">${text}</p>`;
  return page(site, title, content);
}
