/** The form's choices, as ComfyUI and the template offer them. */

import { Away, optionsFor } from "../api.js";
import { alarm } from "../away.js";
import { byId, make, notify, onRetry, say } from "../dom.js";
import { TemplateCards } from "./templates.js";

const AGAIN_MILLISECONDS = 5_000;
const SELECTS = { sampler: "samplers", scheduler: "schedulers" };
const NUMBERS = ["steps", "cfg", "width", "height"];

/** Keeps the form's choices as the chosen template and state have them. */
export class Options {
  /** @param {HTMLFormElement} form @param {import("./form.js").BatchForm} owner */
  constructor(form, owner) {
    this.form = form;
    this.owner = owner;
    this.cards = new TemplateCards(() => this.load());
    this.away = byId("server-away");
    this.asked = 0;
    this.timer = 0;
    /** @type {any} */
    this.known = { takes: null, defaults: {}, profileChoices: [], default: null, template: null };
    this.#field("state")?.addEventListener("change", () => this.load());
    this.#field("profile").addEventListener("change", () => this.#placeholders());
    onRetry(this.away, () => this.load());
  }

  /** The template that is to be sent: the chosen one; the shown one only where the state has none of its own. */
  get template() {
    return this.cards.chosen || (this.known.default ? "" : (this.known.template ?? ""));
  }

  /** The one that the form is about. @returns {string | null} */
  get shown() {
    return this.cards.chosen || this.known.template;
  }

  /** Whether the template takes this; everything, before that is known. @param {string} binding */
  takes(binding) {
    return !this.known.takes || this.known.takes.includes(binding);
  }

  /** What holds where a field is left empty. @param {string} name @returns {{value: any, source: "default" | "profile"}} */
  left(name) {
    const profile = this.known.profileChoices.find((/** @type {any} */ one) => one.name === this.#field("profile").value);
    if (profile && name in profile.sets) return { value: profile.sets[name], source: "profile" };
    return { value: this.known.defaults[name], source: "default" };
  }

  /** Ask for them and fill them in; what was chosen stays where it is still offered. */
  async load() {
    const turn = ++this.asked;
    const asked = {};
    const state = this.#field("state")?.value;
    if (state) Object.assign(asked, { state });
    if (this.cards.chosen) Object.assign(asked, { template: this.cards.chosen });
    try {
      const options = await optionsFor(asked);
      if (turn !== this.asked) return;
      this.#fill(options);
    } catch (error) {
      if (turn !== this.asked) return;
      if (error instanceof Away || !this.cards.forget()) this.#isAway(/** @type {Error} */ (error));
      else this.load();
    }
  }

  /** @param {any} options */
  #fill(options) {
    if (options.server.reachable) notify(this.away, "");
    else this.#isAway(new Away(options.server.message ?? ""));
    this.known = options;
    for (const [name, list] of Object.entries(SELECTS)) this.#choices(name, options[list]);
    for (const name of [...NUMBERS, ...Object.keys(SELECTS), "model", "negative"]) this.#allow(name, this.takes(name));
    byId("models").replaceChildren(...options.models.map((/** @type {string} */ value) => make("option", { value })));
    this.cards.fill(options);
    this.owner.image.allow(this.takes("image"), options.needsImage ? null : (options.defaults.image ?? null));
    this.owner.loras.offer(options.loras);
    this.owner.axes.offer(options.parameters);
    this.#profiles(options.profileChoices);
    this.#placeholders();
    this.owner.changed();
  }

  /** Say so, and ask again by and by as long as somebody sees the form. @param {Error} error */
  #isAway(error) {
    alarm(this.away, error);
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.form.checkVisibility() && this.load(), AGAIN_MILLISECONDS);
  }

  /** @param {string} name @param {string[]} values */
  #choices(name, values) {
    const field = this.#field(name);
    const before = field.value;
    field.replaceChildren(make("option", { value: "" }, "Default"), ...values.map((value) => make("option", { value }, value)));
    field.value = values.includes(before) ? before : "";
  }

  /** @param {any[]} profiles */
  #profiles(profiles) {
    this.#choices("profile", profiles.map((/** @type {any} */ one) => one.name));
    this.#field("profile").options[0].textContent = "None";
  }

  /** A field that the template does not take is not there at all. @param {string} name @param {boolean} takes */
  #allow(name, takes) {
    const field = this.#field(name);
    field.disabled = !takes;
    field.closest(".field").hidden = !takes;
  }

  /** What an empty field stands for is what its placeholder shows. */
  #placeholders() {
    for (const name of [...NUMBERS, "negative"]) this.#field(name).placeholder = this.left(name).value ?? "";
    const own = (/** @type {string} */ name) => {
      const { value } = this.left(name);
      return value ? `Default (${value})` : "Default";
    };
    this.#field("model").placeholder = own("model");
    for (const name of Object.keys(SELECTS)) this.#field(name).options[0].textContent = own(name);
    const profile = this.known.profileChoices.find((/** @type {any} */ one) => one.name === this.#field("profile").value);
    say(byId("profile-hint"), profile?.description ?? "");
  }

  /** @param {string} name @returns {any} */
  #field(name) {
    return this.form.elements.namedItem(name);
  }
}
