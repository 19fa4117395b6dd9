/** The workflows that images can be sent on to, one of them to be chosen, with its model where it takes one. */

import { byId, make } from "../dom.js";

export const ASKING = "Asking the servers what they can do…";

/** A list of them in a form, and the form's button. */
export class StageChoices {
  /**
   * @param {string} list the id of what holds them
   * @param {string} button
   * @param {string} none what is said where there are none
   */
  constructor(list, button, none) {
    this.list = byId(list);
    this.button = byId(button);
    this.none = none;
    this.name = list;
    this.list.addEventListener("change", () => this.#fold());
  }

  /** @param {any[] | undefined} stages of the API; undefined while it is asked */
  show(stages) {
    const shown = JSON.stringify(stages ?? null);
    if (this.list.dataset.shown === shown) return;
    this.list.dataset.shown = shown;
    const first = stages?.find((one) => one.possible);
    const note = make("p", { className: "soft small" }, stages ? this.none : ASKING);
    this.list.replaceChildren(...(stages?.length ? stages.map((one, at) => this.#choice(one, `${this.name}-${at}`, one === first)) : [note]));
    this.button.disabled = !first;
    this.#fold();
  }

  /** It is not known what there is. */
  clear() {
    this.list.dataset.shown = "";
    this.list.replaceChildren();
    this.button.disabled = true;
  }

  /** As `addStage` takes it; null where nothing can be chosen. @returns {{stage: string, model?: string} | null} */
  get chosen() {
    const input = this.list.querySelector("input:checked");
    if (!input) return null;
    const model = input.closest(".stage-choice").querySelector("select")?.value;
    return model ? { stage: input.value, model } : { stage: input.value };
  }

  /** @param {any} stage @param {string} id @param {boolean} isFirst */
  #choice(stage, id, isFirst) {
    const radio = make("input", { type: "radio", name: this.name, value: stage.id, disabled: !stage.possible, checked: isFirst });
    const note = stage.possible ? stage.purpose : `Not here: ${stage.why}`;
    const about = make("small", { id: `${id}-about`, className: stage.possible ? "soft" : "bad" }, note ?? "");
    const words = make("span", {}, make("span", { id: `${id}-name` }, stage.name), about);
    radio.setAttribute("aria-labelledby", `${id}-name`);
    radio.setAttribute("aria-describedby", `${id}-about`);
    const choice = make("div", { className: "stage-choice" }, make("label", { className: "check" }, radio, words));
    if (stage.possible && stage.models?.length) choice.append(modelsOf(stage));
    return choice;
  }

  /** The models of what is chosen alone. */
  #fold() {
    for (const choice of this.list.querySelectorAll(".stage-choice")) {
      const models = choice.querySelector("select");
      if (models) models.hidden = !choice.querySelector("input").checked;
    }
  }
}

/** @param {any} stage */
const modelsOf = ({ name, models }) =>
  make("select", { "aria-label": `Model for ${name}` }, ...models.map((/** @type {string} */ one) => make("option", {}, one)));
