/** The folded groups: what each comes to is in its line, and whether somebody chose that. */

import { byId, make } from "../dom.js";

/** @typedef {{text: string, source: "chosen" | "default" | "profile"}} Effective */

/** Shows effective values in the lines of the groups. */
export class Groups {
  /** @param {import("./form.js").BatchForm} form */
  constructor(form) {
    this.form = form;
  }

  show() {
    const { options, loras, axes } = this.form;
    this.#line("model", [this.#effective("model")]);
    this.#line("size", [this.#size()]);
    this.#line("sampling", ["steps", "cfg", "sampler", "scheduler"].map((name) => this.#effective(name)));
    this.#line("negative", [this.#effective("negative")], "none");
    this.#line("loras", chosen(loras.chosen.map(({ name, strength }) => `${short(name)} ${strength}`)), "none");
    this.#line("axes", chosen(axes.chosen.map((axis) => `${axis.parameter} × ${axis.values.length}`)), "none");
    this.#line("template", this.#template());
    const shown = { loras: "lora", model: "model", negative: "negative" };
    for (const [group, binding] of Object.entries(shown)) byId(`group-${group}`).hidden = !options.takes(binding);
    byId("group-size").hidden = !options.takes("width") && !options.takes("height");
    byId("group-sampling").hidden = !["steps", "cfg", "sampler", "scheduler"].some((name) => options.takes(name));
  }

  /** @param {string} name @returns {Effective | null} */
  #effective(name) {
    const { options } = this.form;
    if (!options.takes(name)) return null;
    const typed = byId(name).value.trim();
    const { value, source } = typed ? { value: typed, source: "chosen" } : options.left(name);
    if (value === null || value === undefined || value === "") return null;
    const shown = name === "steps" ? `${value} steps` : name === "cfg" ? `CFG ${value}` : name === "model" ? short(String(value)) : `${value}`;
    return /** @type {Effective} */ ({ text: shown, source });
  }

  /** @returns {Effective | null} */
  #size() {
    const [width, height] = ["width", "height"].map((name) => this.#effective(name));
    if (!width || !height) return width ?? height;
    const source = [width, height].some((side) => side.source === "chosen") ? "chosen" : "default";
    return { text: `${width.text} × ${height.text}`, source };
  }

  /** @returns {(Effective | null)[]} */
  #template() {
    const { template, shown } = this.form.options;
    const profile = byId("profile").value;
    /** @type {(Effective | null)[]} */
    const line = [shown ? { text: short(shown), source: template ? "chosen" : "default" } : null];
    return profile ? [...line, { text: `profile ${profile}`, source: "chosen" }] : line;
  }

  /**
   * @param {string} group
   * @param {(Effective | null)[]} values
   * @param {string} [none]
   */
  #line(group, values, none = "Default") {
    const there = /** @type {Effective[]} */ (values.filter(Boolean));
    const parts = there.map(({ text, source }) => (source === "chosen" ? make("b", {}, text) : text));
    const joined = parts.flatMap((part, number) => (number ? [" · ", part] : [part]));
    const [source, ...others] = new Set(there.map((one) => one.source));
    const from = others.length || source === "chosen" ? "" : source === "profile" ? " · from profile" : " · default";
    const line = byId(`${group}-line`);
    line.replaceChildren(...(there.length ? [...joined, from] : [none]));
    line.title = line.textContent;
  }
}

/** @param {string[]} texts @returns {Effective[]} */
const chosen = (texts) => texts.map((text) => ({ text, source: "chosen" }));

/** A file's name without its folder and its ending. @param {string} name */
export const short = (name) => (name.split(/[/\\]/).at(-1) ?? name).replace(/\.(safetensors|ckpt|pt|pth|gguf|json)$/, "");
