/** Batches of the feed that are far from what is seen: their room stays, and nothing is in it. */

import { make } from "../dom.js";
import { BatchCard } from "./batch_card.js";
import { NOTHING } from "./batch_words.js";

/** How far from what is seen a batch is still drawn. */
const MARGIN = "100%";
/** How high one is taken to be of which nothing like it was drawn yet, in pixels. */
const HEIGHT = 300;
/** So many that are not drawn keep their images in mind; those of others are fetched again. */
const KEPT = 240;

/** The room of one batch, with its card while that is drawn. */
export class Place {
  /** @param {any} batch of the feed @param {import("./batch_card.js").Acts} acts */
  constructor(batch, acts) {
    this.acts = acts;
    this.batch = batch;
    this.live = NOTHING;
    this.element = make("li", { className: "feed-batch" });
    this.day = new Date(batch.createdAt).toDateString();
    /** @type {BatchCard | null} */
    this.card = null;
    this.isForgotten = false;
  }

  /** How many images are shown of it. */
  get count() {
    return this.isForgotten ? this.shownImages : this.batch.images.length;
  }

  /** Whether its images look the same size: another one of these is as high. */
  get likeness() {
    return `${this.count} ${this.batch.shape}`;
  }

  /** @param {any} batch */
  show(batch) {
    this.batch = batch;
    this.isForgotten = false;
    this.card?.show(batch);
  }

  /** @param {import("./batch_words.js").Live} live */
  hear(live) {
    this.live = live;
    this.card?.hear(live);
  }

  draw() {
    if (this.card || this.isForgotten) return;
    this.element.style.height = "";
    this.card = new BatchCard(this.batch, this.acts, this.element);
    this.card.hear(this.live);
  }

  /** @param {number} height */
  fold(height) {
    this.element.style.height = `${height}px`;
    this.element.replaceChildren();
    this.card = null;
  }

  /** Keep but how many images there are. */
  forget() {
    this.shownImages = this.batch.images.length;
    this.batch = { ...this.batch, images: [] };
    this.isForgotten = true;
  }

  shownImages = 0;
}

/** Draws what comes near and folds what goes. */
export class Folding {
  /** @param {() => void} wanting called when one comes near whose images are forgotten */
  constructor(wanting) {
    this.wanting = wanting;
    /** @type {WeakMap<Element, Place>} */
    this.places = new WeakMap();
    /** @type {Set<Place>} */
    this.near = new Set();
    /** Not drawn, with their images in mind, the one that was longest so first. @type {Set<Place>} */
    this.kept = new Set();
    /** Never drawn so far. @type {Set<Place>} */
    this.fresh = new Set();
    /** How high batches are, by what they show. @type {Map<string, number>} */
    this.heights = new Map();
    this.observer = new IntersectionObserver((seen) => this.#seen(seen), { rootMargin: `${MARGIN} 0px` });
    // In another width nothing is as high as it was.
    addEventListener("resize", () => this.heights.clear());
  }

  /** Watch one that is not drawn yet. @param {Place} place */
  add(place) {
    this.places.set(place.element, place);
    place.fold(this.heights.get(place.likeness) ?? HEIGHT);
    this.fresh.add(place);
    this.#keep(place);
    this.observer.observe(place.element);
  }

  /** @param {Place} place */
  remove(place) {
    this.observer.unobserve(place.element);
    for (const set of [this.near, this.kept, this.fresh]) set.delete(place);
  }

  /** Draw one now, wherever it is. @param {Place} place */
  draw(place) {
    const isNew = !place.card && !this.heights.has(place.likeness);
    place.draw();
    if (!place.card) return;
    this.kept.delete(place);
    this.fresh.delete(place);
    if (isNew) requestAnimationFrame(() => requestAnimationFrame(() => this.#measure(place)));
  }

  /** Those like it that were never drawn are as high. @param {Place} place */
  #measure(place) {
    const height = place.element.offsetHeight;
    if (!place.card || !height || this.heights.has(place.likeness)) return;
    this.heights.set(place.likeness, height);
    for (const other of this.fresh) if (other.likeness === place.likeness) other.element.style.height = `${height}px`;
  }

  /** Those that are near and whose images are forgotten. */
  wanted() {
    return [...this.near].filter((place) => place.isForgotten);
  }

  /** @param {IntersectionObserverEntry[]} seen */
  #seen(seen) {
    for (const { target, isIntersecting, boundingClientRect } of seen) {
      const place = this.places.get(target);
      // While the whole feed is hidden, nothing has a height.
      if (!place || !(isIntersecting || boundingClientRect.height)) continue;
      if (isIntersecting) this.near.add(place);
      else this.near.delete(place);
      if (isIntersecting) this.draw(place);
      else if (place.card && !target.contains(document.activeElement)) this.#fold(place, boundingClientRect.height);
    }
    if (this.wanted().length) this.wanting();
  }

  /** @param {Place} place @param {number} height */
  #fold(place, height) {
    this.heights.set(place.likeness, height);
    place.fold(height);
    this.#keep(place);
  }

  /** @param {Place} place */
  #keep(place) {
    this.kept.add(place);
    if (this.kept.size <= KEPT) return;
    const [oldest] = this.kept;
    this.kept.delete(oldest);
    if (!this.near.has(oldest)) oldest.forget();
  }
}
