/** The form's choices, as ComfyUI and the template offer them. */

import { Away, optionsFor } from "./api.js";
import { byId, make, notify, onRetry } from "./dom.js";

const AGAIN_MILLISECONDS = 5_000;
const LISTS = { model: "models", sampler: "samplers", scheduler: "schedulers" };
const NUMBERS = ["steps", "cfg", "width", "height"];
const BY_PROFILE = ["steps", "cfg", "sampler", "scheduler"];

/** Keeps the form's choices as the chosen template and state have them. */
export class Options {
  /** @param {HTMLFormElement} form */
  constructor(form) {
    this.form = form;
    this.away = byId("server-away");
    this.asked = 0;
    this.timer = 0;
    for (const name of ["template", "state"]) {
      this.#field(name)?.addEventListener("change", () => this.load());
    }
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
      if (value) Object.assign(asked, { [name]: value });
    }
    try {
      const options = await optionsFor(asked);
      if (turn !== this.asked) return;
      this.#fill(options);
      // A state that has no template of its own: the first one is as good as any.
      if (!options.template && options.templates.length) this.load();
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
    this.#templates(options.templates, options.template);
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
      if (none) none.textContent = left(name) ?? this.#own(this.defaults[name]);
    }
  }

  /** @param {string[]} names @param {string | null} chosen */
  #templates(names, chosen) {
    const field = this.#field("template");
    field.replaceChildren(...names.map((value) => make("option", { value }, value.split("/").at(-1))));
    field.value = chosen ?? names[0];
  }

  /** @param {string | undefined} value */
  #own(value) {
    return value ? `${value} (the template's)` : "The template's own";
  }

  /** @param {string} name @returns {any} */
  #field(name) {
    return this.form.elements.namedItem(name);
  }
}
