/** The form's choices, as ComfyUI and the template offer them. */

import { Away, optionsFor } from "../api.js";
import { byId, make, notify, onRetry } from "../dom.js";

const AGAIN_MILLISECONDS = 5_000;
const LISTS = { model: "models", sampler: "samplers", scheduler: "schedulers" };
const NUMBERS = ["steps", "cfg", "width", "height"];
const BY_PROFILE = ["steps", "cfg", "sampler", "scheduler"];

/** Keeps the form's choices as the chosen template and state have them. */
export class Options {
  /** @param {HTMLFormElement} form @param {import("./image_field.js").ImageField} image */
  constructor(form, image) {
    this.form = form;
    this.image = image;
    /** Whether somebody has chosen the template: what is only shown as chosen is no choice. */
    this.templateIsChosen = false;
    this.away = byId("server-away");
    this.asked = 0;
    this.timer = 0;
    this.#field("template").addEventListener("change", () => {
      this.templateIsChosen = true;
      this.load();
    });
    this.#field("state")?.addEventListener("change", () => this.load());
    this.#field("profile").addEventListener("change", () => this.#placeholders());
    onRetry(this.away, () => this.load());
    /** @type {Record<string, any>} */
    this.defaults = {};
  }

  /** Ask for them and fill them in; what was chosen stays where it is still offered. */
  async load() {
    const turn = ++this.asked;
    const asked = {};
    for (const name of ["template", "state"]) {
      const value = this.#field(name)?.value;
      if (value && (name !== "template" || this.templateIsChosen)) Object.assign(asked, { [name]: value });
    }
    try {
      const options = await optionsFor(asked);
      if (turn !== this.asked) return;
      this.#fill(options);
    } catch (error) {
      if (turn !== this.asked) return;
      this.#isAway(/** @type {Error} */ (error), error instanceof Away ? error.detail : "");
    }
  }

  /** @param {any} options */
  #fill(options) {
    const away = new Away(options.server.message ?? "");
    if (options.server.reachable) notify(this.away, "");
    else this.#isAway(away, away.detail);
    this.defaults = options.defaults;
    const takes = new Set(options.takes);
    for (const [name, list] of Object.entries(LISTS)) {
      this.#choices(name, options[list], this.#own(this.defaults[name]));
      this.#allow(name, takes.has(name));
    }
    for (const name of [...NUMBERS, "negative"]) this.#allow(name, takes.has(name));
    this.#templates(options);
    this.image.allow(takes.has("image"), options.needsImage ? null : (this.defaults.image ?? null));
    this.#choices("profile", options.profiles, "None");
    this.#placeholders();
  }

  /** Say so, and ask again by and by as long as somebody sees the form. @param {Error} error @param {string} detail */
  #isAway(error, detail) {
    notify(this.away, error.message, detail);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.form.checkVisibility() && this.load(), AGAIN_MILLISECONDS);
  }

  /** @param {string} name @param {string[]} values @param {string} none what leaving it out means */
  #choices(name, values, none) {
    const field = this.#field(name);
    const before = field.value;
    field.replaceChildren(
      make("option", { value: "" }, none),
      ...values.map((value) => make("option", { value }, value)),
    );
    field.value = values.includes(before) ? before : "";
  }

  /** A field that the template does not take is not there at all. @param {string} name @param {boolean} takes */
  #allow(name, takes) {
    const field = this.#field(name);
    field.disabled = !takes;
    field.closest(".field").hidden = !takes;
  }

  /** What an empty field stands for is what its placeholder shows. */
  #placeholders() {
    const profile = this.#field("profile").value;
    /** @param {string} name */
    const left = (name) => (profile && BY_PROFILE.includes(name) ? "by profile" : null);
    for (const name of NUMBERS) this.#field(name).placeholder = left(name) ?? this.defaults[name] ?? "";
    for (const name of ["sampler", "scheduler"]) {
      const none = this.#field(name).options[0];
      if (none) none.textContent = this.#own(left(name) ?? this.defaults[name]);
    }
  }

  /** The state's own is what is used where none is sent. @param {any} options */
  #templates({ templates, default: own, template }) {
    const named = (/** @type {string} */ value) => value.split("/").at(-1) ?? value;
    const others = templates.filter((/** @type {string} */ name) => name !== own);
    const field = this.#field("template");
    field.replaceChildren(
      ...(own ? [make("option", { value: "" }, this.#own(named(own)))] : []),
      ...others.map((/** @type {string} */ value) => make("option", { value }, named(value))),
    );
    field.value = template === own ? "" : (template ?? "");
  }

  /** @param {string | undefined} value */
  #own(value) {
    return value ? `Default (${value})` : "Default";
  }

  /** @param {string} name @returns {any} */
  #field(name) {
    return this.form.elements.namedItem(name);
  }
}
