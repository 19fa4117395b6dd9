/** The row of images as they come: a place for each, filled in when its image is there. */

import { make } from "./dom.js";
import { nameOf } from "./words.js";

const AT_MOST = 60;

/** Keeps the row as the last answer has it, touching only the places that changed. */
export class Shots {
  /** @param {HTMLElement} list @param {HTMLElement} scroller */
  constructor(list, scroller) {
    this.list = list;
    this.scroller = scroller;
    /** @type {Map<string, {place: HTMLElement, looks: string}>} */
    this.places = new Map();
  }

  /**
   * @param {any[]} images of the batch, in order @param {number | null} current the number of the one being made
   * @param {any[]} running what servers say of those that they are making
   */
  show(images, current, running) {
    const steps = new Map(running.map((one) => [one.number, one]));
    const seen = around(images, current);
    const row = seen.map((image) => this.#place(image, image.number === current, steps.get(image.number)));
    const changed = row.length !== this.list.children.length || row.some((one, at) => this.list.children[at] !== one);
    if (changed) this.list.replaceChildren(...row);
    const kept = new Set(seen.map((image) => image.image));
    for (const id of this.places.keys()) if (!kept.has(id)) this.places.delete(id);
    this.#follow(this.list.querySelector(".current"));
  }

  clear() {
    this.places.clear();
    this.list.replaceChildren();
  }

  /** @param {any} image @param {boolean} isFirst @param {any} running */
  #place(image, isFirst, running) {
    const isCurrent = isFirst || running !== undefined;
    const looks = JSON.stringify([image, isCurrent, running && [stepOf(running), running.preview]]);
    const before = this.places.get(image.image);
    if (before?.looks === looks) return before.place;
    const place = before?.place ?? make("li");
    place.className = `shot ${isCurrent ? "current" : image.status}`;
    place.replaceChildren(...inside(image, isCurrent, running));
    this.places.set(image.image, { place, looks });
    return place;
  }

  /** Keep what is being made in sight, unless somebody is looking at something else in the row. */
  #follow(/** @type {HTMLElement | null} */ place) {
    if (!place || this.scroller.matches(":hover, :focus-within")) return;
    const end = place.offsetLeft + place.offsetWidth - this.scroller.clientWidth;
    if (end > this.scroller.scrollLeft) this.scroller.scrollTo({ left: end + 16 });
  }
}

/** So many of a large batch's images that the row stays light. @param {any[]} images @param {number | null} current */
function around(images, current) {
  if (images.length <= AT_MOST) return images;
  const at = images.findIndex((image) => image.number === current);
  const begun = at >= 0 ? at + 1 : images.findLastIndex((image) => image.url || image.error) + 1;
  const from = Math.max(0, Math.min(begun - AT_MOST / 2, images.length - AT_MOST));
  return images.slice(from, from + AT_MOST);
}

/** `KSampler 12/20 · 60 %`. @param {any} running */
function stepOf(running) {
  if (running.node === null) return "making";
  return running.steps > 1 ? `${running.node} ${running.step}/${running.steps} · ${running.percent} %` : running.node;
}

/** @param {any} image @param {boolean} isCurrent @param {any} running */
function inside(image, isCurrent, running) {
  const caption = make("span", { className: "shot-name" }, nameOf(image));
  if (image.thumbnail) {
    const picture = make("img", { src: image.thumbnail, alt: nameOf(image), decoding: "async", loading: "lazy" });
    return [make("a", { href: image.url, target: "_blank", className: "shot-picture" }, picture), caption];
  }
  const word = image.waitsFor ? `waits for ${image.waitsFor}` : STATES[isCurrent ? "current" : image.status];
  const said = running ? stepOf(running) : (word ?? image.status);
  const state = make("span", { className: "shot-state", title: image.waitsFor ? said : "" }, said);
  const blank = make("span", { className: "shot-picture blank" }, state);
  if (running?.preview) blank.prepend(make("img", { src: running.preview, alt: "", className: "shot-preview" }));
  if (image.error) blank.append(make("span", { className: "shot-error", title: image.error }, image.error));
  return [blank, caption];
}

/** @type {Record<string, string>} */
const STATES = {
  pending: "waiting",
  submitted: "sent",
  current: "making",
  completed: "no image",
  failed: "✕ failed",
  cancelled: "cancelled",
};
