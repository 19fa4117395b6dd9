/** Width and height by their aspect, at the number of pixels that the template is made for. */

import { byId, make } from "../dom.js";

const ASPECTS = [[1, 1], [4, 3], [3, 2], [16, 9], [3, 4], [2, 3], [9, 16]];
const STEP = 64;
const SMALL_STEP = 8;
const DRAWN_PIXELS = 18;

/**
 * Sides with this aspect and about so many pixels, as models like them.
 * @param {number[]} aspect
 * @param {number} area
 */
export function sidesOf([across, down], area) {
  const step = area >= 256 * 256 ? STEP : SMALL_STEP;
  const side = (/** @type {number} */ exact) => Math.max(step, Math.round(exact / step) * step);
  return [side(Math.sqrt((area * across) / down)), side(Math.sqrt((area * down) / across))];
}

/** The presets, and the button that swaps the sides. */
export class Size {
  /** @param {import("./form.js").BatchForm} form */
  constructor(form) {
    this.form = form;
    this.buttons = ASPECTS.map((aspect) => this.#button(aspect));
    byId("size-presets").replaceChildren(...this.buttons);
    byId("size-swap").addEventListener("click", () => this.#set(this.#sides().reverse()));
  }

  show() {
    const [width, height] = this.#sides();
    for (const [number, button] of this.buttons.entries()) {
      const sides = sidesOf(ASPECTS[number], this.#area());
      button.title = sides.join(" × ");
      button.setAttribute("aria-pressed", String(sides[0] === width && sides[1] === height));
    }
  }

  /** @param {number[]} aspect */
  #button(aspect) {
    const [across, down] = aspect;
    const shape = make("i", { "aria-hidden": "true" });
    shape.style.setProperty("--w", `${(DRAWN_PIXELS * across) / Math.max(across, down)}px`);
    shape.style.setProperty("--h", `${(DRAWN_PIXELS * down) / Math.max(across, down)}px`);
    const button = make("button", { type: "button" }, shape, `${across}:${down}`);
    button.addEventListener("click", () => this.#set(sidesOf(aspect, this.#area())));
    return button;
  }

  /** What the template is made for. */
  #area() {
    const [width, height] = ["width", "height"].map((name) => Number(this.form.options.left(name).value) || 1024);
    return width * height;
  }

  /** As they are in effect. */
  #sides() {
    return ["width", "height"].map((name) => Number(byId(name).value || this.form.options.left(name).value));
  }

  /** What is the default anyway is left to it. @param {number[]} sides */
  #set(sides) {
    const names = ["width", "height"];
    if (sides.some((side) => !side)) return;
    const isDefault = names.every((name, at) => Number(this.form.options.left(name).value) === sides[at]);
    for (const [at, name] of names.entries()) byId(name).value = isDefault ? "" : String(sides[at]);
    for (const name of names) this.form.typed(byId(name));
  }
}
