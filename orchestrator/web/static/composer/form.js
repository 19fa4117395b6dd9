/** The form of a new batch: what is typed, checked, and sent. */

import { Away, Refused, startBatch, uploadImage } from "../api.js";
import { byId, notify, onRetry, say } from "../dom.js";
import { ImageField } from "./image_field.js";
import { Options } from "./options.js";
import { mistakes } from "./validation.js";
import { counted, letters } from "../words.js";

const WORDS = ["sampler", "scheduler", "template", "profile", "negative"];
const NUMBERS = ["steps", "cfg", "width", "height"];

/** The form. `started(answer, prompt)` is called with what the API answered. */
export class BatchForm {
  /** @param {(answer: any, prompt: string) => void} started */
  constructor(started) {
    this.form = byId("batch-form");
    this.alert = byId("form-alert");
    this.started = started;
    this.image = new ImageField();
    this.options = new Options(this.form, this.image);
    this.form.addEventListener("submit", (/** @type {Event} */ event) => {
      event.preventDefault();
      this.submit();
    });
    this.form.addEventListener("input", (/** @type {any} */ event) => this.#typed(event.target));
    onRetry(this.alert, () => this.submit());
    this.#typed(byId("prompt"));
    this.#seedMode();
  }

  /** Check and send. What is wrong is said beside its field, and the first such field has the focus. */
  async submit() {
    notify(this.alert, "");
    const wrong = mistakes(this.form);
    this.#mark(wrong);
    if (wrong.size || this.form.ariaBusy === "true") return;
    this.#busy(true);
    try {
      const state = Number(this.form.elements.state?.value ?? 0);
      const image = this.image.chosen ? { image: (await uploadImage(this.image.chosen, state)).upload } : {};
      this.started(await startBatch({ ...this.request(), ...image }, state), this.#value("prompt"));
    } catch (error) {
      this.#refused(error);
    } finally {
      this.#busy(false);
    }
  }

  /** What is said, by the API's names. What is left empty is not there: the template or the profile decides. */
  request() {
    const isRandom = byId("randomize").checked;
    const baseSeed = this.#value("baseSeed").trim();
    return {
      prompt: this.#value("prompt"),
      batchCount: Number(this.#value("batchCount")),
      seedMode: isRandom ? "random" : "incremental",
      ...(baseSeed && !isRandom ? { baseSeed } : {}),
      ...this.#said(["model"], String),
      baseParameters: { ...this.#said(NUMBERS, Number), ...this.#said(WORDS, String) },
    };
  }

  /** @param {string[]} names @param {(text: string) => any} kind */
  #said(names, kind) {
    const said = names.filter((name) => !byId(name).disabled && this.#value(name) !== "");
    return Object.fromEntries(said.map((name) => [name, kind(this.#value(name))]));
  }

  /** @param {any} error */
  #refused(error) {
    if (error instanceof Away) notify(this.alert, error.message, error.detail);
    else if (error instanceof Refused && error.field && document.getElementById(`${error.field}-wrong`)) {
      this.#mark(new Map([[error.field, error.message]]));
    } else notify(this.alert, error.message);
  }

  /** @param {any} field that was changed */
  #typed(field) {
    if (field.id === "prompt") say(byId("prompt-count"), counted(letters(field.value), "character"));
    if (field.id === "image") this.image.show();
    if (field.id === "randomize") this.#seedMode();
    if (field.getAttribute("aria-invalid")) this.#markOne(field.name, mistakes(this.form).get(field.name) ?? "");
  }

  #seedMode() {
    const isRandom = byId("randomize").checked;
    byId("baseSeed").disabled = isRandom;
    if (isRandom) this.#markOne("baseSeed", "");
  }

  /** @param {Map<string, string>} wrong */
  #mark(wrong) {
    for (const place of this.form.querySelectorAll(".wrong")) {
      const name = place.id.replace(/-wrong$/, "");
      this.#markOne(name, wrong.get(name) ?? "");
    }
    const [first] = wrong.keys();
    if (!first) return;
    byId(first).closest("details")?.setAttribute("open", "");
    byId(first).focus();
  }

  /** @param {string} name @param {string} message */
  #markOne(name, message) {
    say(byId(`${name}-wrong`), message);
    if (message) byId(name).setAttribute("aria-invalid", "true");
    else byId(name).removeAttribute("aria-invalid");
  }

  /** @param {boolean} busy */
  #busy(busy) {
    this.form.ariaBusy = String(busy);
    const button = this.form.querySelector("[type=submit]");
    button.setAttribute("aria-disabled", String(busy));
    say(button, busy ? "Queueing…" : "Generate Batch");
  }

  /** @param {string} id */
  #value(id) {
    return byId(id).value;
  }
}
