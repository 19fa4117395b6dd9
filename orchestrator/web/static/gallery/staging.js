/** The dialog that makes a further batch of the images that are chosen, with one of the workflows that take them. */

import { addStage, derivationsOf } from "../api.js";
import { byId, make, say } from "../dom.js";
import { counted } from "../words.js";

const dialog = byId("staging");
const list = byId("staging-list");
const PATIENCE_MILLISECONDS = 30_000;

/** Ends what is open. */
let end = () => {};

/**
 * Open it over these images.
 * @param {any[]} refs
 * @returns {Promise<any>} the batch that was begun; null where none was
 */
export function stageImages(refs) {
  end();
  say(byId("staging-title"), `A batch from ${counted(refs.length, "image")}`);
  wrong("");
  byId("staging-add").disabled = true;
  list.replaceChildren(make("p", { className: "soft" }, "Asking the servers…"));
  dialog.showModal();
  return new Promise((resolve) => {
    const over = new AbortController();
    const { signal } = over;
    /** @type {any} */
    let started = null;
    end = () => {
      over.abort();
      resolve(started);
    };
    const add = async (/** @type {Event} */ event) => {
      event.preventDefault();
      const chosen = list.querySelector("input:checked");
      if (!chosen) return;
      byId("staging-add").disabled = true;
      try {
        started = await addStage(refs, chosen.value);
        dialog.close();
      } catch (error) {
        wrong(error instanceof Error ? error.message : String(error));
        byId("staging-add").disabled = false;
      }
    };
    byId("staging-form").addEventListener("submit", add, { signal });
    byId("staging-close").addEventListener("click", () => dialog.close(), { signal });
    dialog.addEventListener("close", () => dialog.open || end(), { signal });
    offer(refs[0], signal);
  });
}

/** The workflows that take such a file as the first one. @param {any} image @param {AbortSignal} signal */
async function offer(image, signal) {
  try {
    const limit = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MILLISECONDS)]);
    const { stages } = await derivationsOf(image, limit);
    const first = stages.find((/** @type {any} */ one) => one.possible);
    const none = make("p", { className: "soft" }, "No workflow of this state takes such a file; add one with burst stage.");
    list.replaceChildren(...(stages.length ? stages.map((/** @type {any} */ one) => choiceOf(one, one === first)) : [none]));
    byId("staging-add").disabled = !first;
  } catch (error) {
    if (signal.aborted) return;
    list.replaceChildren();
    wrong(error instanceof Error ? error.message : String(error));
  }
}

/** @param {any} stage @param {boolean} isFirst */
function choiceOf(stage, isFirst) {
  const input = make("input", { type: "radio", name: "staging", value: stage.id, checked: isFirst, disabled: !stage.possible });
  const note = stage.why ?? stage.purpose ?? "";
  return make("label", { className: "check" }, input, make("span", {}, stage.name, make("br"), make("small", { className: "soft" }, note)));
}

/** @param {string} message */
function wrong(message) {
  const place = byId("staging-wrong");
  place.hidden = !message;
  say(place, message);
}
