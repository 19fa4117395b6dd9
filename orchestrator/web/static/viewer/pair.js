/** Two images beside each other, or one over the other with a slider between; one zoom for both. */

import { byId } from "../dom.js";
import { Place } from "../place.js";
import { differenceOf, nameOf } from "../words.js";
import { Zoom } from "./zoom.js";

const NEAR_PIXELS = 24;

/** The dialog with both images. */
export class PairView {
  /** @param {(images: string) => void} open called where the address names two images */
  constructor(open) {
    this.dialog = byId("pair");
    this.place = new Place("pair", { open, close: () => this.close() });
    this.dialog.addEventListener("close", () => this.place.leave());
    this.stage = byId("stage");
    this.slide = byId("slide");
    this.panes = [...this.stage.querySelectorAll(".pane")];
    this.zoom = new Zoom(this.stage, {
      pane: () => this.panes[0].querySelector(".view"),
      changed: (scale) => (byId("zoom").value = `${Math.round(scale * 100)} %`),
      takes: (event) => !this.#grabs(event),
    });
    byId("pair-close").addEventListener("click", () => this.close());
    this.slide.addEventListener("input", () => this.#part());
    this.dialog.addEventListener("change", () => this.#arrange());
    this.stage.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#drag(event));
    for (const button of this.dialog.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom[/** @type {"in" | "out" | "whole"} */ (button.dataset.zoom)]());
    }
  }

  /** @param {any} first @param {any} second */
  open(first, second) {
    byId("pair-title").textContent = `${nameOf(first)} and ${nameOf(second).toLowerCase()}`;
    [first, second].forEach((image, at) => {
      const picture = this.panes[at].querySelector("img");
      picture.src = image.kind === "image" ? image.url : (image.thumbnail ?? image.url);
      picture.alt = nameOf(image);
      const seed = image.seed === null || image.seed === undefined ? "" : `seed ${image.seed}`;
      const words = [nameOf(image), differenceOf(image), seed].filter(Boolean).join(", ");
      this.panes[at].querySelector("figcaption").textContent = words;
    });
    this.slide.value = 50;
    this.zoom.whole();
    this.#arrange();
    if (!this.dialog.open) this.dialog.showModal();
    this.stage.focus();
    this.place.enter(`${first.image},${second.image}`);
  }

  close() {
    this.dialog.close();
  }

  #arrange() {
    const mode = this.dialog.querySelector("[name=mode]:checked").value;
    this.stage.dataset.mode = mode;
    this.slide.hidden = mode !== "slider";
    this.#part();
  }

  #part() {
    this.stage.style.setProperty("--part", `${this.slide.value}%`);
    this.slide.setAttribute("aria-valuetext", `${this.slide.value} % of the first image`);
  }

  /** Whether a pointer took hold of the line between the images. @param {PointerEvent} event */
  #grabs(event) {
    if (this.stage.dataset.mode !== "slider") return false;
    const box = this.stage.getBoundingClientRect();
    const line = box.left + (box.width * this.slide.value) / 100;
    // Not zoomed in there is nothing to move, so anywhere will do.
    const grabs = this.zoom.scale === 1 || Math.abs(event.clientX - line) <= NEAR_PIXELS;
    if (grabs) this.stage.setPointerCapture(event.pointerId);
    return grabs;
  }

  /** @param {PointerEvent} event */
  #drag(event) {
    const isZoom = this.zoom.pointers.has(event.pointerId);
    if (this.stage.dataset.mode !== "slider" || isZoom || !this.stage.hasPointerCapture(event.pointerId)) return;
    const box = this.stage.getBoundingClientRect();
    this.slide.value = Math.round((100 * (event.clientX - box.left)) / box.width);
    this.#part();
  }
}
