/** The few things that every module does to the document. Text is only ever set as text. */

/**
 * The element with this id.
 * @param {string} id
 * @returns {any}
 */
export function byId(id) {
  const found = document.getElementById(id);
  if (!found) throw new Error(`no element has the id ${id}`);
  return found;
}

/**
 * A new element: `make("a", {href: "/"}, "Home")`.
 * @param {string} name
 * @param {Record<string, any>} properties of the element, such as `className`; what begins with `aria-` or `data-` is
 *   an attribute
 * @param {...(Node | string)} children
 * @returns {any}
 */
export function make(name, properties = {}, ...children) {
  /** @type {any} */
  const made = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (/^(aria|data)-/.test(key)) made.setAttribute(key, value);
    else made[key] = value;
  }
  made.append(...children);
  return made;
}

/**
 * Set a text only where it is another, so that a live region is not read out again for nothing.
 * @param {Element} element
 * @param {string} text
 */
export function say(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/**
 * Show a notice that has a text, a small print and a button, or hide it where `text` is empty.
 * @param {HTMLElement} notice
 * @param {string} text
 * @param {string} [detail]
 */
export function notify(notice, text, detail = "") {
  notice.hidden = !text;
  say(/** @type {Element} */ (notice.querySelector("p")), text);
  say(/** @type {Element} */ (notice.querySelector("small")), detail);
}

/**
 * Call `act` at every press of a notice's button.
 * @param {HTMLElement} notice
 * @param {() => void} act
 */
export function onRetry(notice, act) {
  /** @type {HTMLElement} */ (notice.querySelector("button")).addEventListener("click", act);
}
