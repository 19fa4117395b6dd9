/** What kind of batch it is: “Batch Generate” has 2 to 20 images of one prompt, any other 1 to 999 of each. */

import { byId, say } from "../dom.js";
import { mistakes } from "./validation.js";

const BUTTON = "Generate Batch";

/** Shows what the kind means for the count, the title and the button. */
export class BatchKind {
  /** @param {import("./form.js").BatchForm} form */
  constructor(form) {
    this.form = form;
    this.count = byId("batchCount");
    this.any = byId("anyCount");
  }

  /** Whether there is more than one prompt, image or cell, so that the count is of each. */
  get isOfEach() {
    const { form } = this;
    return Boolean(form.table.kept || byId("severalPrompts").checked || form.image.chosen.length > 1 || form.axes.chosen.length);
  }

  get isFree() {
    return this.any.checked || this.isOfEach;
  }

  show() {
    const { isFree, isOfEach } = this;
    this.count.min = isFree ? "1" : "2";
    this.count.max = isFree ? "999" : "20";
    this.any.closest("label").hidden = isOfEach;
    say(byId("batchCount-hint"), `${isFree ? "1 to 999" : "2 to 20"}${isOfEach ? ` of each ${this.#each()}` : ""}`);
    say(byId("form-title"), isFree ? "Create" : "Batch Generate");
    if (this.count.ariaInvalid === "true") this.form.markOne("batchCount", mistakes(this.form).get("batchCount") ?? "");
    this.showButton();
  }

  /** @param {number} [images] how many it makes, where that is known */
  showButton(images) {
    if (this.form.form.ariaBusy === "true") return;
    const label = images ? `Create ${images.toLocaleString("en")} image${images === 1 ? "" : "s"}` : "Create";
    say(this.form.form.querySelector("[type=submit]"), this.isFree ? label : BUTTON);
  }

  #each() {
    if (this.form.table.kept) return "row";
    if (byId("severalPrompts").checked) return "prompt";
    return this.form.axes.chosen.length ? "combination" : "image";
  }
}
