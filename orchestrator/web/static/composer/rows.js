/** Rows that are added and removed, kept as JSON in a hidden field, so that they survive as all that is typed does. */

import { byId, make } from "../dom.js";

/**
 * Who extends it calls `restore` at the end of its constructor.
 * @template Row
 */
export class Rows {
  /** @param {string} name of the hidden field; `NAME-rows` and `NAME-add` are the list and the button */
  constructor(name) {
    this.field = byId(name);
    this.list = byId(`${name}-rows`);
    /** @type {Row[]} */
    this.rows = [];
    byId(`${name}-add`).addEventListener("click", () => {
      this.rows.push(this.fresh());
      this.keep();
      this.draw();
      this.list.lastElementChild?.querySelector("input, select")?.focus();
    });
    this.field.addEventListener("input", () => this.restore());
  }

  /** A new row. @returns {Row} */
  fresh() {
    throw new Error("each list has its own");
  }

  /** @param {Row} _row @param {number} _number from 0 @returns {HTMLElement} */
  element(_row, _number) {
    throw new Error("each list has its own");
  }

  /** What the hidden field says, where that is another thing. */
  restore() {
    if (this.field.value === JSON.stringify(this.rows)) return;
    try {
      const said = JSON.parse(this.field.value || "[]");
      this.rows = Array.isArray(said) ? said : [];
    } catch {
      this.rows = [];
    }
    this.draw();
  }

  /** What was changed in a row. */
  keep() {
    this.field.value = this.rows.length ? JSON.stringify(this.rows) : "";
    this.field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  draw() {
    this.list.replaceChildren(...this.rows.map((row, number) => this.element(row, number)));
  }

  /** @param {number} number @param {string} label */
  remover(number, label) {
    const button = make("button", { type: "button", "aria-label": label, title: label }, "×");
    button.addEventListener("click", () => {
      this.rows.splice(number, 1);
      this.keep();
      this.draw();
      byId(`${this.field.id}-add`).focus();
    });
    return button;
  }
}

/** A field with its label. @param {string} label @param {HTMLElement} input @param {string} [className] */
export function labeled(label, input, className = "") {
  const place = make("div", { className: `field ${className}` });
  input.id ||= `row-${crypto.getRandomValues(new Uint32Array(1))[0]}`;
  place.append(make("label", { htmlFor: input.id }, label), input);
  return place;
}
