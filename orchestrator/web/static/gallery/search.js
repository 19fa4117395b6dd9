/** The search field: a combobox that offers keys and the values that there are. */

import { completeSearch } from "../api.js";
import { byId, make } from "../dom.js";

const TYPING_MILLISECONDS = 120;

/** `before:` and `after:` with a day: one of this reader's. */
const DAY = /(^|\s)(-?(?:before|after):)(\d{4})-(\d{2})-(\d{2})(?=\s|$)/gi;

/** What the field says, for the API: a day begins at the reader's own midnight. @param {string} text */
export const withMoments = (text) =>
  text.replace(DAY, (said, blank, key, year, month, day) => {
    const midnight = new Date(Number(year), Number(month) - 1, Number(day));
    // The API says what is wrong with a day that is none.
    const isDay = midnight.getMonth() === Number(month) - 1 && midnight.getDate() === Number(day);
    return isDay ? `${blank}${key}${midnight.toISOString()}` : said;
  });

/** A term at the end that has no value yet: it is still being typed. */
const UNFINISHED = /(?:^|\s)-?[A-Za-z_][\w.]*(?::|>=?|<=?|=)"?$/;
/** What is typed is mostly wrong before it is right. */
const HELD_MILLISECONDS = 700;

/** Over an input and a list below it. */
export class SearchField {
  /** @param {() => void} changed called when a suggestion was taken */
  constructor(changed) {
    this.input = byId("text");
    this.list = byId("suggestions");
    this.changed = changed;
    /** @type {{text: string, complete: boolean}[]} */
    this.offered = [];
    this.range = { start: 0, end: 0 };
    this.active = -1;
    this.asking = new AbortController();
    this.timer = 0;
    /** @type {number | undefined} */
    this.held = undefined;
    this.input.addEventListener("input", () => {
      clearTimeout(this.held);
      this.#soon();
    });
    this.input.addEventListener("click", () => this.#soon());
    this.input.addEventListener("focus", () => this.#soon());
    this.input.addEventListener("blur", () => this.close());
    this.input.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    // A press would take the focus away from the field before it is a click.
    this.list.addEventListener("mousedown", (/** @type {Event} */ event) => event.preventDefault());
  }

  get isUnfinished() {
    return document.activeElement === this.input && UNFINISHED.test(this.input.value);
  }

  /** Say what is wrong with it, once nobody types, or nothing. @param {string} message */
  wrong(message) {
    clearTimeout(this.held);
    if (message) this.held = setTimeout(() => this.#wrong(message), HELD_MILLISECONDS);
    else this.#wrong("");
  }

  /** @param {string} message */
  #wrong(message) {
    const place = byId("text-wrong");
    place.hidden = !message;
    if (place.textContent !== message) place.textContent = message;
    this.input.ariaInvalid = message ? "true" : "false";
  }

  close() {
    clearTimeout(this.timer);
    this.asking.abort();
    this.list.hidden = true;
    this.input.ariaExpanded = "false";
    this.input.removeAttribute("aria-activedescendant");
    this.active = -1;
  }

  #soon() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#ask(), TYPING_MILLISECONDS);
  }

  async #ask() {
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      const { value, selectionStart } = this.input;
      const found = await completeSearch(value, selectionStart ?? value.length, signal);
      if (!signal.aborted && document.activeElement === this.input) this.#show(found);
    } catch {
      // Without suggestions the field is still one.
      if (!signal.aborted) this.close();
    }
  }

  /** @param {any} found */
  #show(found) {
    this.offered = found.suggestions;
    this.range = found;
    this.active = -1;
    this.input.removeAttribute("aria-activedescendant");
    this.list.replaceChildren(...this.offered.map((one, index) => this.#option(one, index)));
    this.list.hidden = !this.offered.length;
    this.input.ariaExpanded = String(this.offered.length > 0);
  }

  /** @param {any} one @param {number} index */
  #option({ text, hint }, index) {
    const option = make("li", { id: `suggestion-${index}`, role: "option", ariaSelected: "false" }, make("span", {}, text));
    if (hint) option.append(make("small", { className: "soft" }, hint));
    option.addEventListener("click", () => this.#take(index));
    return option;
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (this.list.hidden) {
      if (event.key === "ArrowDown") this.#soon();
      return;
    }
    const steps = /** @type {Record<string, number>} */ ({ ArrowDown: 1, ArrowUp: -1 });
    if (event.key in steps) this.#go(steps[event.key]);
    else if (event.key === "Escape") this.close();
    else if ((event.key === "Enter" || event.key === "Tab") && this.active >= 0) this.#take(this.active);
    else return;
    event.preventDefault();
    event.stopPropagation();
  }

  /** @param {number} step */
  #go(step) {
    const options = [...this.list.children];
    options[this.active]?.setAttribute("aria-selected", "false");
    const from = this.active < 0 && step < 0 ? 0 : this.active;
    this.active = (from + step + options.length) % options.length;
    const chosen = options[this.active];
    chosen.setAttribute("aria-selected", "true");
    chosen.scrollIntoView({ block: "nearest" });
    this.input.setAttribute("aria-activedescendant", chosen.id);
  }

  /** @param {number} index */
  #take(index) {
    const { text, complete } = this.offered[index];
    const { value } = this.input;
    const put = complete ? `${text} ` : text;
    const rest = value.slice(this.range.end);
    this.input.value = value.slice(0, this.range.start) + put + (complete ? rest.trimStart() : rest);
    this.input.setSelectionRange(this.range.start + put.length, this.range.start + put.length);
    this.close();
    if (complete) this.changed();
    else this.#soon();
  }
}
