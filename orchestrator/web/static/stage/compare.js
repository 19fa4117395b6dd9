/** The images of a batch that has ended, in a grid: to be looked at, chosen, compared and downloaded. */

import { zipAddress } from "../api.js";
import { byId, make, say } from "../dom.js";
import { changed } from "../image_changes.js";
import { keepScroll } from "../kept.js";
import { CompareView, MOST } from "../viewer/compare.js";
import { addressIn, listed } from "../viewer/viewer.js";
import { counted, differenceOf, nameOf } from "../words.js";

export const AT_ONCE = 60;

/** The grid, its check boxes and what can be done with the chosen ones. */
export class Comparison {
  /** @param {(error: any, retry: () => void) => void} failed called where more images could not be fetched */
  constructor(failed) {
    this.failed = failed;
    this.section = byId("comparison");
    this.grid = byId("grid");
    this.comparing = new CompareView({
      keyOf: ({ image }) => image,
      items: () => this.#listed(this.images),
      idsOf: (key) => [this.batchId, key],
      opened: (images) => this.#check(images),
      failed: (error) => this.failed(error, () => this.comparing.place.arrive()),
    });
    this.isScrolled = false;
    /** @type {Map<string, HTMLInputElement>} */
    this.boxes = new Map();
    /** @type {any[]} */
    this.images = [];
    this.isOneSeed = false;
    /** @type {import("./parts.js").Parts | undefined} */
    this.parts = undefined;
    this.batchId = "";
    this.grid.addEventListener("change", () => this.#chosenChanged());
    // Those that are not loaded yet are as large as the first one that is.
    this.grid.addEventListener("load", (/** @type {any} */ event) => this.#shape(event.target), true);
    byId("choose-all").addEventListener("click", () => this.#chooseAll());
    byId("compare").addEventListener("click", () => this.#compare());
    byId("more").addEventListener("click", () => this.#more());
  }

  /**
   * @param {string} batchId
   * @param {any[]} images those that are there, in order
   * @param {import("./parts.js").Parts} [parts] where those after them are
   */
  show(batchId, images, parts) {
    this.batchId = batchId;
    this.images = images;
    this.isOneSeed = images.every((image) => image.seed === images[0].seed);
    this.parts = parts;
    this.boxes.clear();
    this.grid.replaceChildren();
    this.grid.className = `grid plain columns-${columns(images.length)}`;
    this.#fill();
    this.section.hidden = false;
    this.comparing.place.arrive();
    if (!this.isScrolled) keepScroll(() => this.grid.children.length, (count) => this.#reach(count));
    this.isScrolled = true;
  }

  /** Have some more of a large batch, where there are any. */
  async fetchMore() {
    if (this.parts && this.parts.from !== null) this.images.push(...(await this.parts.fetch()));
    byId("more").hidden = this.grid.children.length >= this.images.length && !this.parts?.from;
  }

  /** Some have other marks, or are gone. @param {import("../image_changes.js").Change} change */
  changed(change) {
    this.images = changed(this.images, change, this.batchId);
    const isThere = new Set(this.images.map(({ image }) => image));
    for (const [name, box] of this.boxes) {
      if (isThere.has(name)) continue;
      box.closest("li")?.remove();
      this.boxes.delete(name);
    }
    this.#chosenChanged();
  }

  hide() {
    this.section.hidden = true;
    this.comparing.close();
  }

  /** Those whose boxes are checked, in order. @returns {any[]} */
  get chosen() {
    return this.images.filter((image) => this.boxes.get(image.image)?.checked);
  }

  /** @param {any[]} images */
  #listed(images) {
    return images.map((image) => listed({ batchId: this.batchId }, image));
  }

  /** @param {any[]} images that the address names */
  #check(images) {
    for (const { image } of images) {
      const box = this.boxes.get(image);
      if (box) box.checked = true;
    }
    this.#chosenChanged();
  }

  /** Show so many again, or as many as there are. @param {number} count */
  async #reach(count) {
    for (let before = -1; before < this.grid.children.length && this.grid.children.length < count; ) {
      before = this.grid.children.length;
      if (!byId("more").hidden) await this.#more();
    }
    // All are as large as the first one.
    const first = this.grid.querySelector("img");
    if (first) await first.decode().catch(() => {});
  }

  async #more() {
    const { images, parts } = this;
    if (parts && this.grid.children.length >= images.length) {
      byId("more").disabled = true;
      try {
        images.push(...(await parts.fetch()));
      } catch (error) {
        if (!parts.signal.aborted) this.failed(error, () => this.#more());
      } finally {
        byId("more").disabled = false;
      }
      if (images !== this.images) return;
    }
    this.#fill();
  }

  #fill() {
    const from = this.grid.children.length;
    const next = this.images.slice(from, from + AT_ONCE);
    this.grid.append(...next.map((image) => this.#card(image)));
    const isLast = !this.parts || this.parts.from === null;
    byId("more").hidden = isLast && this.grid.children.length >= this.images.length;
    this.#chosenChanged();
    if (from && next.length) this.boxes.get(next[0].image)?.focus();
  }

  /** @param {any} image */
  #card(image) {
    const box = make("input", { type: "checkbox", value: image.image });
    this.boxes.set(image.image, box);
    const picture = make("img", { src: image.thumbnail, alt: nameOf(image), decoding: "async", loading: "lazy" });
    const differs = differenceOf(image);
    // A seed that all have says nothing of any.
    const seed = image.seed === null || image.seed === undefined || (differs && this.isOneSeed) ? "" : `seed ${image.seed}`;
    return make(
      "li",
      { className: "card tile" },
      make(
        "a",
        { href: addressIn(this.batchId, image), "data-image": `${this.batchId}/${image.image}`, className: "tile-picture" },
        picture,
      ),
      make(
        "label",
        { className: "check" },
        box,
        nameOf(image),
        ...(differs ? [make("span", { className: "small differs", title: differs }, differs)] : []),
        make("span", { className: "soft small" }, seed),
      ),
    );
  }

  /** @param {HTMLImageElement} picture */
  #shape(picture) {
    this.grid.style.setProperty("--shape", `${picture.naturalWidth} / ${picture.naturalHeight}`);
  }

  #chooseAll() {
    const choose = this.chosen.length < this.boxes.size;
    for (const box of this.boxes.values()) box.checked = choose;
    this.#chosenChanged();
  }

  #chosenChanged() {
    const chosen = this.chosen;
    say(byId("chosen"), chosen.length ? `${counted(chosen.length, "image")} selected` : `Select 2 to ${MOST} images to compare`);
    say(byId("choose-all"), chosen.length && chosen.length === this.boxes.size ? "Select none" : "Select all");
    byId("compare").disabled = chosen.length < 2 || chosen.length > MOST;
    const link = byId("download");
    link.href = zipAddress(this.batchId, chosen.map((image) => image.image));
    say(link, chosen.length ? `Download ZIP (${chosen.length})` : "Download all as ZIP");
  }

  #compare() {
    this.comparing.open(this.#listed(this.chosen));
  }
}

/** Two to four, by how many images there are. @param {number} count */
export function columns(count) {
  if (count === 3 || count === 5 || count === 6) return 3;
  return count <= 4 ? 2 : 4;
}
