// Templates whose values cannot break out: all that is put in is escaped, but what a template made.
class Html {
  constructor(text) {
    this.text = text;
  }

  toString() {
    return this.text;
  }
}

const ESCAPES = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

// html`<p>${text}</p>`: attributes have to be in quotation marks. Lists are put one after the other; undefined, null
// and false are nothing.
export function html(parts, ...values) {
  return new Html(parts.reduce((text, part, index) => text + put(values[index - 1]) + part));
}

function put(value) {
  if (value === undefined || value === null || value === false) return '';
  if (value instanceof Html) return value.text;
  if (Array.isArray(value)) return value.map(put).join('');
  return String(value).replace(/[&<>"']/g, (character) => ESCAPES[character]);
}
