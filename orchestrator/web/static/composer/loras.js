/** LoRAs, each with a strength, from the server's list. */

import { byId, make } from "../dom.js";
import { labeled, Rows } from "./rows.js";

/** @extends {Rows<{name: string, strength: string}>} */
export class Loras extends Rows {
  constructor() {
    super("loras");
    this.restore();
  }

  /** Those that are named, as they are sent. */
  get chosen() {
    const named = this.rows.filter(({ name }) => name.trim());
    return named.map(({ name, strength }) => ({ name: name.trim(), strength: strength === "" ? 1 : Number(strength) }));
  }

  /** What is wrong with the first of them, if anything. */
  get wrong() {
    const fits = this.chosen.every(({ strength }) => Number.isFinite(strength) && Math.abs(strength) <= 100);
    return fits ? "" : "The strength of a LoRA is a number from -100 to 100";
  }

  /** @param {string[]} names as the server lists them */
  offer(names) {
    byId("loras-known").replaceChildren(...names.map((value) => make("option", { value })));
  }

  fresh() {
    return { name: "", strength: "1" };
  }

  /** @param {{name: string, strength: string}} row @param {number} number */
  element(row, number) {
    const name = make("input", { type: "search", value: row.name, autocomplete: "off", spellcheck: false });
    name.setAttribute("list", "loras-known");
    const strength = make("input", { type: "number", step: "0.05", min: "-100", max: "100", value: row.strength });
    name.addEventListener("input", () => ((row.name = name.value), this.keep()));
    strength.addEventListener("input", () => ((row.strength = strength.value), this.keep()));
    return make(
      "li",
      {},
      labeled(`LoRA ${number + 1}`, name),
      this.remover(number, `Remove LoRA ${number + 1}`),
      strengthOf(strength),
    );
  }
}

/** The number, and a slider over what is usual. @param {HTMLInputElement} number */
function strengthOf(number) {
  const slider = make("input", { type: "range", min: "0", max: "1.5", step: "0.05", value: number.value, "aria-label": "Strength, as a slider" });
  slider.addEventListener("input", () => {
    number.value = slider.value;
    number.dispatchEvent(new Event("input"));
  });
  number.addEventListener("input", () => (slider.value = number.value));
  const place = labeled("Strength", number, "wide");
  place.append(slider);
  return place;
}
