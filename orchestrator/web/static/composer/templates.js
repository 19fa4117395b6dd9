/** The templates to choose from: a drawing of what is made from what, the name, and a sentence. */

import { byId, make } from "../dom.js";

const SVG = "http://www.w3.org/2000/svg";

/** What was chosen is in a hidden field: what is only shown as the first is no choice. */
export class TemplateCards {
  /** @param {() => void} chosen called when somebody has chosen another one */
  constructor(chosen) {
    this.place = byId("template-cards");
    this.field = byId("template");
    this.own = "";
    this.place.addEventListener("change", (/** @type {any} */ event) => {
      event.stopPropagation();
      this.field.value = event.target.value === this.own ? "" : event.target.value;
      this.field.dispatchEvent(new Event("input", { bubbles: true }));
      chosen();
    });
  }

  /** @returns {string} */
  get chosen() {
    return this.field.value;
  }

  /** Take the choice back; whether there was one. */
  forget() {
    const was = this.field.value;
    this.field.value = "";
    return Boolean(was);
  }

  /** @param {any} options */
  fill({ templateChoices, default: own, template }) {
    this.own = own ?? "";
    if (!templateChoices.some((/** @type {any} */ one) => one.name === this.field.value)) this.field.value = "";
    const focused = document.activeElement?.getAttribute("value");
    const hadFocus = this.place.contains(document.activeElement);
    this.place.replaceChildren(...templateChoices.map((/** @type {any} */ one) => this.#card(one, one.name === template)));
    if (hadFocus) this.place.querySelector(`[value="${CSS.escape(focused ?? "")}"]`)?.focus();
  }

  /** @param {any} choice @param {boolean} checked */
  #card({ name, kind, purpose }, checked) {
    const shown = name.split("/").at(-1) ?? name;
    return make(
      "label",
      { className: "template" },
      drawing(kind),
      make("b", {}, name === this.own ? `Default (${shown})` : shown),
      make("input", { type: "radio", name: "templateChoice", value: name, checked }),
      make("small", {}, purpose),
    );
  }
}

/** @param {string} kind */
function drawing(kind) {
  const drawn = document.createElementNS(SVG, "svg");
  drawn.setAttribute("aria-hidden", "true");
  drawn.setAttribute("viewBox", "0 0 56 32");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `#kind-${kind}`);
  drawn.append(use);
  return drawn;
}
