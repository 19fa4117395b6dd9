/** The form of a new batch: what is typed, checked, and sent. */

import { Away, Refused, startBatch, uploadImage } from "../api.js";
import { byId, notify, onRetry, say } from "../dom.js";
import { counted, letters } from "../words.js";
import { Axes } from "./axes.js";
import { BatchKind } from "./kind.js";
import { Fill } from "./fill.js";
import { Files } from "./files.js";
import { Forecast } from "./forecast.js";
import { Groups } from "./groups.js";
import { ImageField } from "./image_field.js";
import { Loras } from "./loras.js";
import { Options } from "./options.js";
import { inPageWords, requestOf } from "./request.js";
import { Size } from "./size.js";
import { TableCard } from "./table.js";
import { mistakes } from "./validation.js";

/** The form. `started(answer, prompt)` is called with what the API answered. */
export class BatchForm {
  /** @param {(answer: any, prompt: string) => void} started */
  constructor(started) {
    this.form = byId("batch-form");
    this.alert = byId("form-alert");
    this.started = started;
    this.image = new ImageField();
    this.loras = new Loras();
    this.axes = new Axes();
    this.table = new TableCard();
    this.options = new Options(this.form, this);
    this.kind = new BatchKind(this);
    this.groups = new Groups(this);
    this.forecast = new Forecast(this);
    this.size = new Size(this);
    this.fill = new Fill(this);
    this.files = new Files(this);
    this.#listen();
    this.changed();
    this.fill.fromAddress();
  }

  /** Which state it is about. */
  get state() {
    return Number(this.form.elements.namedItem("state")?.value ?? 0);
  }

  /** Check and send. What is wrong is said beside its field, and the first such field has the focus. */
  async submit() {
    notify(this.alert, "");
    const wrong = mistakes(this);
    this.mark(wrong);
    if (wrong.size || this.form.ariaBusy === "true") return;
    this.#busy(true);
    try {
      const request = { ...requestOf(this), ...(await this.#uploaded()) };
      const started = await startBatch(request, this.state);
      this.fill.settle();
      this.started(started, this.table.prompt || byId("prompt").value);
    } catch (error) {
      this.refused(error);
    } finally {
      this.#busy(false);
    }
  }

  /** Something about the form is another: what follows from that is shown. */
  changed() {
    this.#promptCount();
    this.#seedMode();
    this.kind.show();
    this.groups.show();
    this.size.show();
    this.forecast.ask();
  }

  /** A field was set by the page: as if it had been typed. @param {HTMLElement} field */
  typed(field) {
    field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  /** @param {any} error */
  refused(error) {
    const message = inPageWords(error.message);
    if (error instanceof Away) notify(this.alert, error.message, error.detail);
    else if (error instanceof Refused && hasPlace(error.field)) this.mark(new Map([[error.field ?? "", message]]));
    else notify(this.alert, message);
  }

  /** @param {Map<string, string>} wrong */
  mark(wrong) {
    for (const place of this.form.querySelectorAll(".wrong")) {
      const name = place.id.replace(/-wrong$/, "");
      this.markOne(name, wrong.get(name) ?? "");
    }
    const [first] = wrong.keys();
    if (!first) return;
    const field = byId(first);
    field.closest("details")?.setAttribute("open", "");
    const place = field.type === "hidden" ? field.closest("details, .field").querySelector("input:not([type=hidden]), button, summary") : field;
    place?.focus();
  }

  /** @param {string} name @param {string} message */
  markOne(name, message) {
    say(byId(`${name}-wrong`), message);
    if (message) byId(name).setAttribute("aria-invalid", "true");
    else byId(name).removeAttribute("aria-invalid");
  }

  #listen() {
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => {
      if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("input", (/** @type {any} */ event) => this.#typed(event.target));
    onRetry(this.alert, () => this.submit());
  }

  /** @param {any} field that was changed */
  #typed(field) {
    if (field.id === "image") this.image.show();
    if (field.id === "table") this.table.show();
    if (field.getAttribute("aria-invalid")) this.markOne(field.id, mistakes(this).get(field.id) ?? "");
    this.changed();
  }

  #promptCount() {
    say(byId("prompt-count"), counted(letters(byId("prompt").value), "character"));
  }

  #seedMode() {
    const isRandom = byId("randomize").checked;
    byId("baseSeed").disabled = isRandom;
    byId("baseSeed-field").hidden = isRandom;
    if (isRandom) this.markOne("baseSeed", "");
  }

  async #uploaded() {
    /** @type {string[]} */
    const uploads = [];
    for (const file of this.image.chosen) uploads.push((await uploadImage(file, this.state)).upload);
    if (!uploads.length) return {};
    return uploads.length === 1 ? { image: uploads[0] } : { images: uploads };
  }

  /** @param {boolean} busy */
  #busy(busy) {
    this.form.ariaBusy = String(busy);
    const button = this.form.querySelector("[type=submit]");
    button.setAttribute("aria-disabled", String(busy));
    if (busy) say(button, "Queueing…");
    else this.kind.show();
  }
}

/** Whether a message of this field would be seen. @param {string | null} field */
function hasPlace(field) {
  const place = field && document.getElementById(`${field}-wrong`);
  return Boolean(place) && !(/** @type {HTMLElement} */ (place).closest("[hidden]"));
}
