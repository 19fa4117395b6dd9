/** The large part of the viewer: an image to zoom into, a player, or why there is nothing to see. */

import { byId, make, say } from "../dom.js";
import { described, player } from "../gallery/tiles.js";
import { missingWord } from "../words.js";
import { onSwipe } from "./swipe.js";
import { Zoom } from "./zoom.js";

const CLOSE_UP = 3;

/** Shows one image at a time. */
export class Picture {
  /** @param {(step: number) => void} go called with 1 or -1 by a swipe */
  constructor(go) {
    this.stage = byId("viewer-picture");
    this.view = make("div", { className: "view" });
    this.stage.append(this.view);
    /** Those before and after it, on their way. @type {HTMLImageElement[]} */
    this.near = [];
    this.zoom = new Zoom(this.stage, {
      pane: () => this.view,
      changed: (scale) => this.stage.classList.toggle("close-up", scale > 1),
      takes: () => true,
    });
    this.stage.addEventListener("dblclick", (/** @type {MouseEvent} */ event) => this.#toggle(event));
    onSwipe(this.stage, go, () => this.zoom.scale === 1 && this.zoom.pointers.size < 2);
  }

  /** @param {any} image @param {any[]} neighbors */
  show(image, neighbors) {
    const plays = player(image);
    this.stage.hidden = Boolean(plays);
    byId("viewer-player").hidden = !plays;
    byId("viewer-player").replaceChildren(...(plays ? [plays] : []));
    this.zoom.whole();
    this.view.style.backgroundImage = "";
    if (!plays) this.view.replaceChildren(this.#whole(image));
    this.near = neighbors.map(sourceOf).filter(Boolean).map((src) => make("img", { src, decoding: "async" }));
  }

  clear() {
    byId("viewer-player").replaceChildren();
    this.view.replaceChildren();
    this.near = [];
  }

  /** @param {any} image */
  #whole(image) {
    const address = sourceOf(image);
    if (!address) return make("div", { className: "blank" }, ...missing(image));
    const found = make("img", { src: address, alt: described(image), decoding: "async", draggable: false });
    // Small first: the whole file may be on its way for a while.
    if (image.thumbnail && !found.complete) this.view.style.backgroundImage = `url(${JSON.stringify(image.thumbnail)})`;
    found.addEventListener("load", () => (this.view.style.backgroundImage = ""));
    found.addEventListener("error", () => found.replaceWith(make("div", { className: "blank" }, "cannot be shown")));
    return found;
  }

  /** @param {MouseEvent} event */
  #toggle(event) {
    if (this.zoom.scale > 1) this.zoom.whole();
    else this.zoom.by(CLOSE_UP, this.zoom.share(event));
  }
}

/** The file, of an image that a browser shows; else its tile. @param {any} image */
const sourceOf = (image) => (image.kind === "image" ? image.thumbnail && image.url : image.thumbnail);

/** @param {any} image that is not there, or that no browser shows */
function missing(image) {
  if (image.url) return [(image.file ?? "").split(".").pop()];
  const words = make("p", { className: image.status === "failed" ? "bad" : "" });
  say(words, missingWord(image.status));
  return image.error ? [words, make("p", { className: "small" }, image.error)] : [words];
}
