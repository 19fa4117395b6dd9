/** What the form would make, and how long that takes: asked for when somebody stops typing. */

import { forecastOf, Refused } from "../api.js";
import { byId, make, say } from "../dom.js";
import { counted, duration } from "../words.js";
import { inPageWords, requestOf } from "./request.js";
import { mistakes } from "./validation.js";

const QUIET_MILLISECONDS = 350;

/** Shows “3 prompts × 4 = 12 images · about 4 min”, and what dynamic prompts become. */
export class Forecast {
  /** @param {import("./form.js").BatchForm} form */
  constructor(form) {
    this.form = form;
    this.line = byId("forecast");
    this.timer = 0;
    this.asked = "";
    /** @type {AbortController | null} */
    this.underWay = null;
  }

  /** Soon, unless the form is as it was. */
  ask() {
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#now(), QUIET_MILLISECONDS);
  }

  async #now() {
    const request = requestOf(this.form);
    const what = JSON.stringify([request, this.form.state, this.form.image.chosen.length]);
    if (what === this.asked) return;
    this.underWay?.abort();
    if (mistakes(this.form).size) return this.#show("", []);
    this.asked = what;
    this.underWay = new AbortController();
    try {
      const found = await forecastOf(request, this.form.state, this.underWay.signal);
      this.#tell(found, request);
    } catch (error) {
      if (error instanceof Refused) this.#show(inPageWords(error.message), []);
      else if (what === this.asked) this.asked = "";
    }
  }

  /** @param {any} found @param {any} request */
  #tell(found, request) {
    // The images are not uploaded yet.
    const each = Math.max(1, this.form.image.chosen.length);
    const images = found.images * each;
    const factors = [
      found.prompts > 1 ? counted(found.prompts, this.form.table.kept ? "row" : "prompt") : "",
      each > 1 ? counted(each, "image") : "",
      found.cells > 1 ? counted(found.cells, "combination") : "",
      request.batchCount > 1 && !this.form.table.kept ? String(request.batchCount) : "",
    ].filter(Boolean);
    const total = counted(images, "image");
    const sum = factors.length > 1 ? `${factors.join(" × ")} = ${total}` : total;
    const seconds = found.seconds === null ? null : found.seconds + (images - found.images) * found.secondsPerImage;
    const time = seconds === null ? "" : `about ${duration(seconds)}`;
    this.#show([sum, time].filter(Boolean).join(" · "), found.expansions);
    this.form.kind.showButton(images);
  }

  /** @param {string} text @param {string[]} expansions */
  #show(text, expansions) {
    say(this.line, text);
    byId("expansions").hidden = !expansions.length;
    byId("expansions-list").replaceChildren(...expansions.map((one) => make("li", {}, one)));
  }
}
