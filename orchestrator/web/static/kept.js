/**
 * What this browser keeps, and the only place that does (but for `theme.js`, which runs before there are modules): what
 * was typed and how far it was scrolled, while a tab is open; what was chosen for good.
 */

/** @param {string} key @param {() => Storage} storage @returns {any} */
function read(key, storage = () => sessionStorage) {
  try {
    return JSON.parse(storage().getItem(key) ?? "null");
  } catch {
    return null;
  }
}

/** @param {string} key @param {any} value @param {() => Storage} storage */
function write(key, value, storage = () => sessionStorage) {
  try {
    storage().setItem(key, JSON.stringify(value));
  } catch {
    // No room, or not allowed: then it does not survive.
  }
}

/** Whether this was chosen in any tab, and not taken back. @param {string} name */
export const isChosen = (name) => read(name, () => localStorage) === true;

/** @param {string} name @param {boolean} chosen */
export const choose = (name, chosen) => write(name, chosen, () => localStorage);

/**
 * Fill a form with what was typed before, and keep what is typed.
 * @param {HTMLFormElement} form
 */
export function keepTyped(form) {
  const key = `typed:${location.pathname}:${form.id}`;
  const kept = read(key) ?? {};
  for (const field of fields(form)) if (field.name in kept) restore(field, kept[field.name]);
  form.addEventListener("input", () => {
    write(key, Object.fromEntries(fields(form).map((field) => [field.name, valueOf(field)])));
  });
}

/** What one of several radio buttons chooses is in a hidden field of its own. */
const UNKEPT = ["file", "radio"];

/** @param {HTMLFormElement} form @returns {any[]} */
const fields = (form) => [...form.elements].filter((/** @type {any} */ field) => field.name && !UNKEPT.includes(field.type));

/** @param {any} field */
const valueOf = (field) => (field.type === "checkbox" ? field.checked : field.value);

/** @param {any} field @param {any} value */
function restore(field, value) {
  if (field.type === "checkbox") field.checked = value;
  else {
    // A list is filled in later; what was chosen stays where it is still offered.
    if (field.localName === "select" && value && ![...field.options].some((one) => one.value === value)) {
      field.append(new Option(value, value));
    }
    field.value = value;
  }
}

/**
 * Come back to where a page was scrolled to, once what was there is there again.
 * @param {() => number} count how many things the page shows
 * @param {(count: number) => Promise<void>} fetch so many again
 */
export async function keepScroll(count, fetch) {
  const key = () => `scroll:${location.pathname}${location.search}`;
  history.scrollRestoration = "manual";
  addEventListener("pagehide", () => write(key(), { top: scrollY, count: count() }));
  const [came] = /** @type {PerformanceNavigationTiming[]} */ (performance.getEntriesByType("navigation"));
  const kept = came?.type === "navigate" ? null : read(key());
  if (!kept?.top) return;
  await fetch(kept.count);
  scrollTo({ top: kept.top, behavior: "instant" });
}
