/** The question before something is deleted. */

import { byId, say } from "./dom.js";

const dialog = byId("confirm");
const [yes, no, wrong] = ["yes", "no", "wrong"].map((name) => byId(`confirm-${name}`));

/** Ends the question that is asked. */
let end = () => {};

/**
 * Ask, and do it where the answer is yes. What goes wrong is said in the dialog, which then stays.
 * @template T
 * @param {string} title
 * @param {string} text
 * @param {() => Promise<T>} act
 * @returns {Promise<T | undefined>} what `act` returned; undefined where it was not done
 */
export function confirmed(title, text, act) {
  end();
  say(byId("confirm-title"), title);
  say(byId("confirm-text"), text);
  hear("");
  yes.disabled = false;
  dialog.showModal();
  return new Promise((resolve) => {
    /** @type {T | undefined} */
    let done;
    const over = new AbortController();
    const { signal } = over;
    end = () => {
      over.abort();
      resolve(done);
    };
    no.addEventListener("click", () => dialog.close(), { signal });
    yes.addEventListener("click", async () => (done = await attempt(act)), { signal });
    // The event comes late: by then the next question may be asked.
    dialog.addEventListener("close", () => dialog.open || end(), { signal });
  });
}

/** @template T @param {() => Promise<T>} act @returns {Promise<T | undefined>} */
async function attempt(act) {
  yes.disabled = true;
  hear("");
  try {
    const done = await act();
    // The dialog is told after what was done is known.
    queueMicrotask(() => dialog.close());
    return done;
  } catch (error) {
    hear(error instanceof Error ? error.message : String(error));
    yes.disabled = false;
    return undefined;
  }
}

/** @param {string} text */
function hear(text) {
  wrong.hidden = !text;
  say(wrong, text);
}
