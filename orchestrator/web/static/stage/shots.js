/** The row of images as they come: a place for each, filled in when its image is there. */

import { make } from "../dom.js";
import { differenceOf, missingWord, nameOf } from "../words.js";

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
   * @param {any[]} images of the batch, in order @param {any[]} running what is known of those that are being rendered
   * @param {boolean} isWaiting for servers that do not answer
   */
  show(images, running, isWaiting) {
    const steps = new Map(running.map((one) => [one.number, one]));
    const out = images.find((image) => image.status === "submitted");
    const seen = around(images, (running[0] ?? out)?.number ?? null);
    const row = seen.map((image) => this.#place(image, steps.get(image.number), isWaiting));
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

  /** @param {any} image @param {any} running @param {boolean} isWaiting */
  #place(image, running, isWaiting) {
    const looks = JSON.stringify([image, isWaiting, running && [stepOf(running), running.preview]]);
    const before = this.places.get(image.image);
    if (before?.looks === looks) return before.place;
    const place = before?.place ?? make("li");
    place.className = `shot ${running ? "current" : image.status}`;
    place.replaceChildren(...inside(image, running, isWaiting));
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
  if (running.node === null) return "Rendering…";
  if (running.loads) return "Loading model…";
  return running.steps > 1 ? `${running.node} ${running.step}/${running.steps} · ${running.percent} %` : running.node;
}

/** @param {any} image @param {any} running @param {boolean} isWaiting */
function inside(image, running, isWaiting) {
  const differs = differenceOf(image);
  const caption = make("span", { className: "shot-name", title: differs }, nameOf(image));
  if (differs) caption.append(make("span", { className: "shot-differs" }, differs));
  if (image.thumbnail) {
    const picture = make("img", { src: image.thumbnail, alt: nameOf(image), decoding: "async", loading: "lazy" });
    return [make("a", { href: image.url, "data-image": `${image.batchId}/${image.image}`, className: "shot-picture" }, picture), caption];
  }
  const word = image.waitsFor ? `Waits for ${image.waitsFor}` : missingWord(image.status);
  const now = running ? stepOf(running) : isWaiting && image.status === "submitted" ? "Waiting" : word;
  const said = image.attempt > 1 ? `${now} · try ${image.attempt}` : now;
  const state = make("span", { className: "shot-state", title: image.waitsFor ? said : "" }, said);
  const blank = make("span", { className: "shot-picture blank" }, state);
  if (running?.preview) blank.prepend(make("img", { src: running.preview, alt: "", className: "shot-preview" }));
  if (image.error) blank.append(make("span", { className: "shot-error", title: image.error }, image.error));
  return [blank, caption];
}
