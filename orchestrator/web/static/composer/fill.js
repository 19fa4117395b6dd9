/** Filling the form from elsewhere: from an image's settings, from a file. What was there before is one step of undo. */

import { settingsOf } from "../api.js";
import { byId, notify, say } from "../dom.js";

const PLAIN = ["negative", "model", "width", "height", "steps", "cfg", "sampler", "scheduler"];

/** Fills the form, and takes that back. */
export class Fill {
  /** @param {import("./form.js").BatchForm} form */
  constructor(form) {
    this.form = form;
    this.notice = byId("filled");
    /** @type {Record<string, any> | null} */
    this.before = null;
    this.notice.querySelector("button").addEventListener("click", () => this.undo());
    byId("form-reset").addEventListener("click", () => this.reset());
  }

  /** `/?from=BATCH/IMAGE`: once, so that a page that is loaded again has what was typed since. */
  async fromAddress() {
    const address = new URL(location.href);
    const from = address.searchParams.get("from");
    if (!from) return;
    const at = from.lastIndexOf("/");
    address.searchParams.delete("from");
    history.replaceState(history.state, "", address);
    try {
      const settings = await settingsOf(from.slice(0, at), from.slice(at + 1));
      this.settings(settings, `Filled with the settings of image ${from.slice(at + 1)}`);
      byId("prompt").focus();
    } catch (error) {
      const { message, detail = "" } = /** @type {any} */ (error);
      notify(this.form.alert, message, detail);
    }
  }

  /** @param {any} settings as the API tells them @param {string} said */
  settings(settings, said) {
    const plain = Object.fromEntries(PLAIN.map((name) => [name, settings[name] ?? ""]));
    const loras = settings.loras.map((/** @type {any} */ one) => ({ name: one.name, strength: String(one.strength) }));
    const seed = settings.seed === null ? { randomize: true } : { randomize: false, baseSeed: String(settings.seed) };
    const own = settings.state === null ? {} : { state: String(settings.state), template: settings.template ?? "" };
    this.apply(
      {
        ...plain,
        ...seed,
        ...own,
        ...(settings.prompt === null ? {} : { prompt: settings.prompt, severalPrompts: false, dynamic: false, tableKept: "" }),
        lorasKept: loras.length ? JSON.stringify(loras) : "",
        axesKept: "",
        profile: "",
      },
      said,
    );
  }

  /** @param {Record<string, any>} values by the names of fields @param {string} said */
  apply(values, said) {
    this.before = this.#all();
    this.#set(values);
    this.notice.hidden = false;
    say(this.notice.querySelector("p"), said);
  }

  reset() {
    this.apply(this.initial(), "Everything is as at first");
    this.form.mark(new Map());
  }

  undo() {
    if (this.before) this.#set(this.before);
    this.settle();
    byId("prompt").focus();
  }

  /** What it was filled with is used: there is nothing to take back. */
  settle() {
    this.before = null;
    this.notice.hidden = true;
  }

  /** Every field as the page comes. @returns {Record<string, any>} */
  initial() {
    const found = this.#fields().map((field) => {
      if (field.type === "checkbox") return [field.name, field.defaultChecked];
      if (field.localName === "select") return [field.name, field.name === "state" ? field.value : ""];
      return [field.name, field.type === "hidden" ? "" : field.defaultValue];
    });
    return Object.fromEntries(found);
  }

  /** @param {Record<string, any>} values */
  #set(values) {
    const fields = this.#fields().filter((field) => field.name in values);
    const template = this.form.options.shown;
    for (const field of fields) setOne(field, values[field.name]);
    // Each tells its own part of the form; the last one, all of it.
    for (const field of fields) if (field.type === "hidden") this.form.typed(field);
    this.form.typed(byId("prompt"));
    if (this.form.options.shown !== template || "state" in values) this.form.options.load();
  }

  #all() {
    return Object.fromEntries(this.#fields().map((field) => [field.name, field.type === "checkbox" ? field.checked : field.value]));
  }

  /** @returns {any[]} */
  #fields() {
    const all = /** @type {any[]} */ ([...this.form.form.elements]);
    return all.filter(({ name, type }) => name && !["file", "radio", "submit"].includes(type));
  }
}

/** @param {any} field @param {any} value */
function setOne(field, value) {
  if (field.type === "checkbox") {
    field.checked = Boolean(value);
    return;
  }
  // A list may be filled in later; what the server does not have is not there then.
  if (field.localName === "select" && value && ![...field.options].some((one) => one.value === String(value))) {
    field.append(new Option(String(value), String(value)));
  }
  field.value = String(value);
}
