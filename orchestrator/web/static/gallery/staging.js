/** The dialog that makes a further batch of the images that are chosen, with one of the workflows that take them. */

import { addStage, derivationsOf } from "../api.js";
import { byId, say } from "../dom.js";
import { StageChoices } from "../viewer/stage_choices.js";
import { counted } from "../words.js";

const dialog = byId("staging");
const choices = new StageChoices("staging-list", "staging-add", "No workflow of this state accepts this file; add one with burst stage.");
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
  choices.show(undefined);
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
      const { chosen } = choices;
      if (!chosen) return;
      byId("staging-add").disabled = true;
      try {
        started = await addStage(refs, chosen);
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
    choices.show((await derivationsOf(image, limit)).stages);
  } catch (error) {
    if (signal.aborted) return;
    choices.clear();
    wrong(error instanceof Error ? error.message : String(error));
  }
}

/** @param {string} message */
function wrong(message) {
  const place = byId("staging-wrong");
  place.hidden = !message;
  say(place, message);
}
