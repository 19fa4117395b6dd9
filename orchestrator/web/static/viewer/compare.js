/** Two to four images beside each other, or two over each other with a slider between; one zoom for all. */

import { imageDetails } from "../api.js";
import { byId, make } from "../dom.js";
import { changed, hearImages } from "../image_changes.js";
import { Place } from "../place.js";
import { differenceOf, nameOf } from "../words.js";
import { Zoom } from "./zoom.js";

export const MOST = 4;
const NEAR_PIXELS = 24;
const PATIENCE_MILLISECONDS = 15_000;
const ORDINALS = ["first", "second", "third", "fourth"];

/**
 * What a page says of its images.
 * @typedef {object} Said
 * @property {(image: any) => string} keyOf what an image goes by in the address
 * @property {() => any[]} items those that are there, as of the viewer
 * @property {(key: string) => [string, string]} idsOf batch and image, of one that is not among them
 * @property {(images: any[]) => void} [opened] called where the address named them
 * @property {(error: unknown) => void} failed one that the address names cannot be shown
 */

/** The dialog with the images. Its address is `?compare=a,b`. */
export class CompareView {
  /** @param {Said} said */
  constructor(said) {
    this.said = said;
    this.dialog = byId("comparing");
    this.place = new Place("compare", { open: (value) => this.#openKeys(value), close: () => this.close() });
    this.stage = byId("stage");
    this.slide = byId("slide");
    this.zoom = new Zoom(this.stage, {
      pane: () => this.stage.querySelector(".view"),
      changed: (scale) => (byId("zoom").value = `${Math.round(scale * 100)} %`),
      takes: (event) => !this.#grabs(event),
    });
    /** Those that are shown. @type {any[]} */
    this.images = [];
    hearImages((change) => this.#hear(change));
    this.#listen();
  }

  /** Without what is gone, as long as there is something to compare. @param {import("../image_changes.js").Change} change */
  #hear(change) {
    if (!this.dialog.open) return;
    const left = changed(this.images, change);
    if (left.length === this.images.length) return;
    if (left.length > 1) this.open(left);
    else this.close();
  }

  #listen() {
    this.dialog.addEventListener("close", () => {
      this.place.leave();
      this.stage.replaceChildren();
    });
    byId("comparing-close").addEventListener("click", () => this.close());
    this.slide.addEventListener("input", () => this.#part());
    this.dialog.addEventListener("change", () => this.#arrange());
    this.stage.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.zoom.press(event, { moves: true }));
    this.stage.addEventListener("pointermove", (/** @type {PointerEvent} */ event) => this.#drag(event));
    for (const button of this.dialog.querySelectorAll("[data-zoom]")) {
      button.addEventListener("click", () => this.zoom[/** @type {"in" | "out" | "whole"} */ (button.dataset.zoom)]());
    }
  }

  /** @param {any[]} images two to four */
  open(images) {
    this.images = images;
    byId("comparing-title").textContent = titleOf(images);
    const lines = captionsOf(images);
    const panes = images.map((image, at) => pane(image, ORDINALS[at], lines[at]));
    this.stage.replaceChildren(...panes, make("div", { className: "divider", "aria-hidden": "true" }));
    this.stage.dataset.count = String(images.length);
    byId("comparing-modes").hidden = images.length !== 2;
    this.slide.value = 50;
    this.zoom.whole();
    this.#arrange();
    if (!this.dialog.open) this.dialog.showModal();
    this.stage.focus();
    this.place.enter(images.map((image) => encodeURIComponent(this.said.keyOf(image))).join(","));
  }

  close() {
    this.dialog.close();
  }

  /** @param {string} value of the address */
  async #openKeys(value) {
    const keys = value.split(",").map(decodeURIComponent);
    try {
      if (keys.length < 2 || keys.length > MOST) throw new Error(`Compare two to ${MOST} images`);
      const images = await Promise.all(keys.map((key) => this.#found(key)));
      if (this.place.wanted !== value) return;
      this.said.opened?.(images);
      this.open(images);
    } catch (error) {
      this.place.leave();
      this.said.failed(error);
    }
  }

  /** @param {string} key */
  #found(key) {
    const known = this.said.items().find((image) => this.said.keyOf(image) === key);
    return known ?? imageDetails(...this.said.idsOf(key), AbortSignal.timeout(PATIENCE_MILLISECONDS));
  }

  #arrange() {
    const isPair = this.stage.dataset.count === "2";
    const mode = isPair ? this.dialog.querySelector("[name=mode]:checked").value : "beside";
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

/** @param {any} image @param {string} ordinal @param {string} caption */
function pane(image, ordinal, caption) {
  const src = image.kind === "image" ? image.url : (image.thumbnail ?? image.url);
  const shown = make("img", { src, alt: nameOf(image), draggable: false });
  const view = make("div", { className: "view" }, shown);
  return make("figure", { className: `pane ${ordinal}` }, view, make("figcaption", { title: caption }, caption));
}

/** `Image 1, image 2 and image 3`. @param {any[]} images */
function titleOf(images) {
  const names = images.map((image, at) => (at ? nameOf(image).toLowerCase() : nameOf(image)));
  return `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
}

/** Their names, and what tells them from each other. @param {any[]} images @returns {string[]} */
function captionsOf(images) {
  const others = (/** @type {(image: any) => any} */ of) => new Set(images.map((image) => JSON.stringify(of(image) ?? null))).size > 1;
  const names = [...new Set(images.flatMap((image) => Object.keys(image.parameters ?? {})))];
  const differing = names.filter((name) => others((image) => image.parameters?.[name]));
  const [isOfSeveral, hasPrompts] = [others((image) => image.batchId), others((image) => image.prompt)];
  return images.map((image) => {
    const values = image.differs ? differenceOf(image) : differing.map((name) => `${name} ${image.parameters?.[name] ?? "–"}`).join(" · ");
    const seed = image.seed === null || image.seed === undefined ? "" : `seed ${image.seed}`;
    const batch = isOfSeveral ? (image.batchName ?? image.batchId) : "";
    return [nameOf(image), batch, values, seed, hasPrompts ? image.prompt : ""].filter(Boolean).join(", ");
  });
}
