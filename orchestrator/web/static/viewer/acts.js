/** What can be made of the image that is shown: its settings used again, more like it, a stage, another try. */

import { addStage, derivationsOf, makeVariations, retryImage } from "../api.js";
import { byId, make, say } from "../dom.js";
import { counted } from "../words.js";
import { ASKING, StageChoices } from "./stage_choices.js";

const PANELS = ["more", "upscale", "stage"];

/** The buttons and the forms below the facts. */
export class Acts {
  /**
   * @param {(text: string, ...more: Node[]) => void} tell
   * @param {(image: any) => void} retried one that failed is due again
   */
  constructor(tell, retried) {
    this.tell = tell;
    this.retried = retried;
    /** @type {any} */
    this.image = null;
    /** What can be made from the image, once that was asked. @type {any} */
    this.derivations = null;
    this.asking = new AbortController();
    for (const name of PANELS) byId(`${name}-open`).addEventListener("click", () => this.#toggle(name));
    byId("viewer-more").addEventListener("submit", (/** @type {Event} */ event) => this.#more(event));
    this.stages = {
      upscale: new StageChoices("upscale-list", "upscale-add", "No workflow of this state can enlarge this file."),
      stage: new StageChoices("stage-list", "stage-add", "No workflow of this state accepts this file; add one with burst stage."),
    };
    for (const [name, choices] of Object.entries(this.stages))
      byId(`viewer-${name}`).addEventListener("submit", (/** @type {Event} */ event) => this.#stage(event, name, choices));
    byId("more-from").addEventListener("change", () => this.#choices());
    byId("more-strength").addEventListener("input", () => this.#choices());
    byId("viewer-retry").addEventListener("click", () => this.#retry());
  }

  /** @param {any} image */
  show(image) {
    const isOther = image.batchId !== this.image?.batchId || image.image !== this.image?.image;
    this.image = image;
    const isThere = Boolean(image.url);
    byId("viewer-use").href = `/?${new URLSearchParams({ from: `${image.batchId}/${image.image}` })}`;
    byId("viewer-use").hidden = !isThere;
    for (const name of PANELS) byId(`${name}-open`).hidden = !isThere || image.readOnly;
    byId("viewer-retry").hidden = isThere || !["failed", "cancelled"].includes(image.status);
    if (isOther) this.close();
  }

  close() {
    this.asking.abort();
    this.derivations = null;
    for (const name of PANELS) this.#open(name, false);
  }

  /** @param {string} name @param {boolean} isOpen */
  #open(name, isOpen) {
    byId(`viewer-${name}`).hidden = !isOpen;
    byId(`${name}-open`).ariaExpanded = String(isOpen);
  }

  /** @param {string} name */
  async #toggle(name) {
    const opens = byId(`viewer-${name}`).hidden;
    for (const one of PANELS) this.#open(one, one === name && opens);
    if (!opens) return;
    this.tell("");
    this.#choices();
    byId(`viewer-${name}`).querySelector("input:enabled, button").focus();
    if (!this.derivations) await this.#ask();
  }

  async #ask() {
    this.asking = new AbortController();
    const { signal } = this.asking;
    try {
      this.derivations = await derivationsOf(this.image, signal);
      byId("more-strength").value = this.derivations.fromImage.strength;
      this.#choices();
    } catch (error) {
      if (!signal.aborted && error instanceof Error) this.tell(error.message);
    }
  }

  /** What is possible, as the forms offer it. */
  #choices() {
    const known = this.derivations;
    const [from, strength] = [byId("more-from"), byId("more-strength")];
    from.disabled = !known?.fromImage.possible;
    if (from.disabled) from.checked = false;
    byId("more-strength-field").hidden = !from.checked;
    byId("more-strength-shown").value = `${Math.round(strength.value * 100)} %`;
    strength.setAttribute("aria-valuetext", `${Math.round(strength.value * 100)} %`);
    const chosen = from.checked ? known?.fromImage : known?.variations;
    byId("more-make").disabled = !chosen?.possible;
    say(byId("more-note"), known ? noteOf(known, from.checked) : ASKING);
    const stages = known?.stages;
    this.stages.upscale.show(stages?.filter((/** @type {any} */ one) => one.upscales));
    this.stages.stage.show(stages?.filter((/** @type {any} */ one) => !one.upscales));
  }

  /** @param {Event} event */
  async #more(event) {
    event.preventDefault();
    const count = Number(byId("more-count").value);
    const strength = byId("more-from").checked ? { strength: Number(byId("more-strength").value) } : {};
    await this.#make("more", () => makeVariations(this.image, { count, ...strength }));
  }

  /** @param {Event} event @param {string} name @param {StageChoices} choices */
  async #stage(event, name, choices) {
    event.preventDefault();
    const { chosen } = choices;
    if (chosen) await this.#make(name, () => addStage([this.image], chosen));
  }

  /** @param {string} name of the form @param {() => Promise<any>} act */
  async #make(name, act) {
    const button = byId(`viewer-${name}`).querySelector("button");
    button.disabled = true;
    try {
      const { batchId, queuedImages } = await act();
      const link = make("a", { href: `/?${new URLSearchParams({ batch: batchId })}` }, "Show the batch");
      this.#open(name, false);
      byId(`${name}-open`).focus();
      this.tell(`${counted(queuedImages, "image")} queued. `, link);
    } catch (error) {
      if (error instanceof Error) this.tell(error.message);
    } finally {
      button.disabled = false;
    }
  }

  async #retry() {
    const { image } = this;
    try {
      await retryImage(image);
      this.tell("It is queued again.");
      byId("viewer-retry").hidden = true;
      this.retried(image);
    } catch (error) {
      if (error instanceof Error) this.tell(error.message);
    }
  }
}

/** @param {any} known @param {boolean} isFrom */
function noteOf({ variations, fromImage }, isFrom) {
  if (isFrom) return `Made with ${fromImage.template}: its prompt, its settings, and this image to begin with.`;
  const from = fromImage.possible ? "" : ` Not from this image: ${fromImage.why}.`;
  return variations.possible ? `The same prompt and settings, other seeds.${from}` : `${variations.why}.${from}`;
}
