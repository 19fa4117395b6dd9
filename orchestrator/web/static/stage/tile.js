/** One image of the feed: its place is there at its size before the image is, in the image's own colors. */

import { make } from "../dom.js";
import { thumbnail } from "../thumbnail.js";
import { addressIn } from "../viewer/viewer.js";
import { differenceOf, nameOf } from "../words.js";
import { stepOf } from "./batch_words.js";

/** @param {any} batch of the feed @param {any} image */
export function tileOf(batch, image) {
  const differs = differenceOf(image);
  const link = make("a", { className: "feed-tile", href: addressIn(batch.batchId, image), title: differs });
  link.dataset.image = `${batch.batchId}/${image.image}`;
  if (!image.thumbnail) link.append(make("span", { className: "feed-word" }, image.file.split(".").pop() ?? image.file));
  else link.append(...pictureOf(image, differs || batch.title));
  if (image.favorite) link.append(make("span", { className: "feed-mark", title: "Favorite" }, "★"));
  return make("li", {}, link);
}

/** @param {any} image @param {string} about */
function pictureOf(image, about) {
  const alt = [nameOf(image), about].filter(Boolean).join(": ");
  const picture = thumbnail(image.thumbnail, alt);
  if (!image.tint) return [picture];
  const blurred = tinted(image.tint);
  picture.addEventListener("load", () => blurred.remove(), { once: true });
  return [blurred, picture];
}

/** Sixteen colors, which the browser blends as it makes them large. @param {string} tint */
function tinted(tint) {
  const canvas = make("canvas", { width: 4, height: 4, className: "feed-tint" });
  canvas.setAttribute("aria-hidden", "true");
  const channel = (/** @type {number} */ at) => parseInt(tint.slice(6 * (at >> 2) + 2 * (at & 3)).slice(0, 2), 16);
  const bytes = Uint8ClampedArray.from({ length: 64 }, (_, at) => ((at & 3) === 3 ? 255 : channel(at)));
  canvas.getContext("2d")?.putImageData(new ImageData(bytes, 4, 4), 0, 0);
  return canvas;
}

/** The place of an image that is being rendered, or that is still to come. */
export class ComingTile {
  constructor() {
    this.word = make("span", { className: "feed-word" });
    this.picture = make("img", { alt: "", className: "feed-preview", hidden: true });
    this.box = make("span", { className: "feed-tile coming" }, this.picture, this.word);
    this.element = make("li", {}, this.box);
  }

  /** @param {any} running of the queue; null while nothing is done about it */
  show(running) {
    this.box.classList.toggle("current", Boolean(running));
    this.word.textContent = running ? stepOf(running) : "";
    this.picture.hidden = !running?.preview;
    if (running?.preview && this.picture.getAttribute("src") !== running.preview) this.picture.src = running.preview;
    if (!running?.preview) this.picture.removeAttribute("src");
  }
}
