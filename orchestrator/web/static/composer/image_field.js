/** The field for the image that a batch is made from: chosen or dropped, shown, sent with the form. */

import { byId, say } from "../dom.js";

/** Hidden while the template takes no image. */
export class ImageField {
  constructor() {
    this.input = byId("image");
    this.shown = byId("image-shown");
    this.place = this.input.closest(".field");
    this.place.addEventListener("dragover", (/** @type {DragEvent} */ event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      this.place.classList.add("over");
    });
    this.place.addEventListener("dragleave", () => this.place.classList.remove("over"));
    this.place.addEventListener("drop", (/** @type {DragEvent} */ event) => this.#dropped(event));
  }

  /** What is to be sent, if anything. @returns {File | undefined} */
  get chosen() {
    return this.input.disabled ? undefined : this.input.files[0];
  }

  /**
   * @param {boolean} takes whether the template takes an image
   * @param {string | null} own the one that it names and the server has
   */
  allow(takes, own) {
    this.place.hidden = !takes;
    this.input.disabled = !takes;
    this.input.required = takes && !own;
    say(byId("image-hint"), own ? `Drop one here or choose one; without it: default (${own})` : "Drop one here or choose one");
  }

  /** Show what was chosen. */
  show() {
    if (this.shown.src) URL.revokeObjectURL(this.shown.src);
    const [file] = this.input.files;
    this.shown.hidden = !file;
    if (file) this.shown.src = URL.createObjectURL(file);
    else this.shown.removeAttribute("src");
  }

  /** @param {DragEvent} event */
  #dropped(event) {
    this.place.classList.remove("over");
    const [file] = event.dataTransfer?.files ?? [];
    if (!file) return;
    event.preventDefault();
    const files = new DataTransfer();
    files.items.add(file);
    this.input.files = files.files;
    this.input.dispatchEvent(new Event("input", { bubbles: true }));
  }
}
