// A person who is signed in, as the mint hears of it.

// How sure we are, in the words of https://refeds.org/profile: by a password, or by that and a one-time code.
const SINGLE_FACTOR = 'https://refeds.org/profile/sfa';
const MULTI_FACTOR = 'https://refeds.org/profile/mfa';

// OpenID Connect Core §5.4.
const CLAIMS_OF_SCOPE = {
  profile: ['name', 'given_name', 'family_name', 'preferred_username'],
  email: ['email', 'email_verified'],
};

export function words(text) {
  return (text ?? '').split(' ').filter(Boolean);
}

export function now() {
  return Math.floor(Date.now() / 1000);
}

// Of the contexts that a client names, the first that we know is the one it would like best.
export function wantsSecondFactor(request) {
  return words(request.acr_values).find((acr) => [SINGLE_FACTOR, MULTI_FACTOR].includes(acr)) === MULTI_FACTOR;
}

export function answer(person, scopes) {
  const names = scopes.flatMap((scope) => CLAIMS_OF_SCOPE[scope] ?? []);
  return {
    subject: person.subject,
    scope: scopes.join(' '),
    auth_time: person.authTime,
    acr: person.amr.includes('otp') ? MULTI_FACTOR : SINGLE_FACTOR,
    amr: person.amr,
    claims: Object.fromEntries(names.filter((name) => name in person.claims).map((name) => [name, person.claims[name]])),
    session: person.session,
  };
}
