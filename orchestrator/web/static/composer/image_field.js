/** The field for the images that a batch is made from: chosen or dropped, shown, sent with the form. */

import { byId, make, say } from "../dom.js";

const SHOWN = 8;
export const MOST_IMAGES = 500;
const LARGEST_BYTES = 64 * 2 ** 20;

/** Hidden while the template takes no image. */
export class ImageField {
  constructor() {
    this.input = byId("image");
    this.shown = byId("images-shown");
    this.place = this.input.closest(".field");
    /** @type {string[]} */
    this.addresses = [];
  }

  /** What is to be sent. @returns {File[]} */
  get chosen() {
    return this.input.disabled ? [] : [...this.input.files];
  }

  /** Whether the template takes any. */
  get isAllowed() {
    return !this.input.disabled;
  }

  /**
   * @param {boolean} takes whether the template takes an image
   * @param {string | null} own the one that it names and the server has
   */
  allow(takes, own) {
    this.place.hidden = !takes;
    this.input.disabled = !takes;
    this.input.required = takes && !own;
    say(byId("image-hint"), `Drop one, several or a folder here, or choose them${own ? `; without: default (${own})` : ""}`);
  }

  /** @param {File[]} files */
  set(files) {
    const chosen = new DataTransfer();
    for (const file of files) chosen.items.add(file);
    this.input.files = chosen.files;
    this.input.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** What is wrong with what was chosen, if anything. */
  get wrong() {
    if (this.input.required && !this.chosen.length) return "Choose an image";
    if (this.chosen.length > MOST_IMAGES) return `Up to ${MOST_IMAGES} images at once; use burst generate for more`;
    const large = this.chosen.find((file) => file.size > LARGEST_BYTES);
    return large ? `${large.name} is over ${LARGEST_BYTES / 2 ** 20} MiB; choose a smaller one` : "";
  }

  /** Show what was chosen. */
  show() {
    this.addresses.forEach((address) => URL.revokeObjectURL(address));
    const files = this.chosen;
    this.addresses = files.slice(0, SHOWN).map((file) => URL.createObjectURL(file));
    const images = this.addresses.map((src, at) => make("li", {}, make("img", { src, alt: files[at].name })));
    const more = files.length - images.length;
    this.shown.hidden = !files.length;
    this.shown.replaceChildren(...images, ...(more > 0 ? [make("li", {}, `and ${more} more`)] : []));
  }
}
