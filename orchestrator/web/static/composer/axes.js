/** A sweep: axes, each a parameter and the values that are tried. */

import { make, say } from "../dom.js";
import { counted } from "../words.js";
import { labeled, Rows } from "./rows.js";
import { valuesOf } from "./values.js";

const TEXT = "prompt";
const SIZE = "size";
/** Beside names: how they are called on the page. @type {Record<string, string>} */
const LABELS = { [TEXT]: "Text in the prompt", [SIZE]: "Size", cfg: "CFG", lora: "LoRA", lora_strength: "LoRA strength", batch_size: "Batch size" };

/** What is swept most. */
const FIRST = ["cfg", "steps", "sampler", "model"];

/** @typedef {{parameter: string, values: string, picked: string[], search: string}} Axis */
/** @typedef {{name: string, default: any, choices: string[]}} Parameter */

/** @extends {Rows<Axis>} */
export class Axes extends Rows {
  constructor() {
    super("axes");
    this.restore();
  }

  /** Those that have values, as they are sent. */
  get chosen() {
    return this.rows
      .map((row) => ({ parameter: parameterOf(row), values: this.#values(row).values }))
      .filter(({ parameter, values }) => parameter && values.length);
  }

  /** What is wrong with the first of them, if anything. */
  get wrong() {
    return this.rows.map((row) => this.#values(row).wrong).find(Boolean) ?? "";
  }

  /** @param {Parameter[]} parameters */
  offer(parameters) {
    this.offered = parameters;
    this.draw();
  }

  fresh() {
    const taken = new Set(this.rows.map(({ parameter }) => parameter));
    const names = this.#names();
    names.unshift(...FIRST.filter((name) => names.includes(name)));
    return { parameter: names.find((name) => !taken.has(name)) ?? names[0] ?? "", values: "", picked: [], search: "" };
  }

  /** @param {Axis} row @param {number} number */
  element(row, number) {
    const parameter = make("select", {}, ...this.#names(row.parameter).map((value) => make("option", { value }, labelOf(value))));
    parameter.value = row.parameter;
    parameter.addEventListener("change", () => {
      Object.assign(row, { parameter: parameter.value, values: "", picked: [], search: "" });
      this.keep();
      this.draw();
    });
    const remove = this.remover(number, `Remove axis ${number + 1}`);
    const choices = this.#choices(row.parameter);
    const values = choices.length ? [this.#boxes(row, choices)] : [this.#text(row, number)];
    return make("li", { className: "axis" }, labeled(`Axis ${number + 1}`, parameter), remove, ...this.#search(row), ...values);
  }

  /** What is replaced, of an axis over texts. @param {Axis} row */
  #search(row) {
    if (row.parameter !== TEXT) return [];
    const input = make("input", { value: row.search, autocomplete: "off" });
    input.addEventListener("input", () => ((row.search = input.value), this.keep()));
    return [labeled("Replace", input, "wide")];
  }

  /** @param {Axis} row @param {number} number */
  #text(row, number) {
    const input = make("input", { value: row.values, autocomplete: "off", placeholder: exampleOf(row.parameter) });
    const shown = make("small", { "aria-live": "polite" });
    const show = () => say(shown, this.#summary(row));
    input.addEventListener("input", () => ((row.values = input.value), show(), this.keep()));
    show();
    const place = labeled(`Values of axis ${number + 1}`, input, "wide");
    place.append(shown);
    return place;
  }

  /** @param {Axis} row @param {string[]} choices */
  #boxes(row, choices) {
    const boxes = choices.map((value) => {
      const box = make("input", { type: "checkbox", checked: row.picked.includes(value) });
      box.addEventListener("change", () => {
        row.picked = choices.filter((one) => (one === value ? box.checked : row.picked.includes(one)));
        this.keep();
      });
      return make("label", { className: "check" }, box, value);
    });
    return make("div", { className: "choices wide", role: "group", "aria-label": `Values of ${labelOf(row.parameter)}` }, ...boxes);
  }

  /** @param {Axis} row */
  #summary(row) {
    const { values, wrong } = this.#values(row);
    if (wrong) return wrong;
    if (!values.length) return "";
    const shown = values.length > 8 ? [...values.slice(0, 6), "…", values.at(-1)] : values;
    return `${shown.join(", ")} · ${counted(values.length, "value")}`;
  }

  /** @param {Axis} row */
  #values(row) {
    if (this.#choices(row.parameter).length || (!this.offered && row.picked.length)) return { values: row.picked, wrong: "" };
    return valuesOf(row.values, { texts: row.parameter === TEXT || row.parameter === SIZE });
  }

  /** @param {string} name */
  #choices(name) {
    return this.offered?.find((one) => one.name === name)?.choices ?? [];
  }

  /** @param {string} [own] one that is there although it is not offered */
  #names(own) {
    const names = (this.offered ?? []).map(({ name }) => name);
    const size = ["width", "height"].every((side) => names.includes(side)) ? [SIZE] : [];
    return [...new Set([...names, ...size, TEXT, ...(own ? [own] : [])])];
  }
}

/** @param {Axis} row */
const parameterOf = ({ parameter, search }) => (parameter !== TEXT ? parameter : search.trim() && `${TEXT}:${search}`);

/** @param {string} name */
const labelOf = (name) => LABELS[name] ?? name.charAt(0).toUpperCase() + name.slice(1).replaceAll("_", " ");

/** @param {string} name */
const exampleOf = (name) => (name === SIZE ? "512x768, 768x512" : name === TEXT ? "fox, cat, an owl" : "5, 7, 9 or 5..9 step 2");
