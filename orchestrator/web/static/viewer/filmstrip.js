/** The images around the one that is shown, small, in a row. */

import { make } from "../dom.js";
import { nameOf } from "../words.js";

/** So many before and after: a gallery may have thousands. */
const AROUND = 24;

/** Keeps what it has made, so that going on by one changes little. */
export class Filmstrip {
  /** @param {HTMLElement} list @param {(image: any) => void} open */
  constructor(list, open) {
    this.list = list;
    this.open = open;
    /** @type {Map<string, HTMLElement>} */
    this.known = new Map();
    /** Counts what was to be shown; only the latest is. */
    this.turn = 0;
  }

  /**
   * After the next frame, which shows the image itself; the room is kept at once.
   * @param {any[]} items @param {number} here its place in `items`; -1 where it is not among them @param {(image: any) => string} keyOf
   */
  show(items, here, keyOf) {
    const turn = ++this.turn;
    this.list.hidden = here < 0 || items.length < 2;
    if (this.list.hidden) return;
    requestAnimationFrame(() => setTimeout(() => turn === this.turn && this.#fill(items, here, keyOf)));
  }

  /** @param {any[]} items @param {number} here @param {(image: any) => string} keyOf */
  #fill(items, here, keyOf) {
    const seen = items.slice(Math.max(0, here - AROUND), here + AROUND + 1);
    const kept = new Map(seen.map((image) => [keyOf(image), this.known.get(keyOf(image)) ?? this.#place(image)]));
    this.known = kept;
    const row = [...kept.values()];
    const changed = row.length !== this.list.children.length || row.some((one, at) => this.list.children[at] !== one);
    if (changed) this.list.replaceChildren(...row);
    this.#mark(kept.get(keyOf(items[here])));
  }

  clear() {
    this.turn += 1;
    this.known.clear();
    this.list.replaceChildren();
  }

  /** @param {any} image */
  #place(image) {
    const inside = image.thumbnail
      ? make("img", { src: image.thumbnail, alt: nameOf(image), decoding: "async", loading: "lazy" })
      : make("span", { className: "blank small" }, image.status === "failed" ? "✕" : "…");
    const button = make("button", { type: "button", tabIndex: -1 }, inside);
    if (!image.thumbnail) button.ariaLabel = nameOf(image);
    button.addEventListener("click", () => this.open(image));
    return make("li", {}, button);
  }

  /** @param {HTMLElement | undefined} place */
  #mark(place) {
    for (const one of this.list.querySelectorAll("button")) {
      const isShown = one.parentElement === place;
      one.tabIndex = isShown ? 0 : -1;
      one.toggleAttribute("aria-current", isShown);
    }
    if (place) this.list.scrollTo({ left: place.offsetLeft - (this.list.clientWidth - place.offsetWidth) / 2 });
  }
}
