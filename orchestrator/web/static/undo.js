/** What was just done can be taken back: a line with a button, for a while. */

import { byId, make, say } from "./dom.js";

const SHOWN_MILLISECONDS = 20_000;

const text = make("p", { role: "status" });
const button = make("button", { type: "button" }, "Undo");
const bar = make("div", { className: "undo row", hidden: true }, text, button);
/** @type {() => Promise<string>} */
let takeBack = async () => "";
let timer = 0;

button.addEventListener("click", async () => {
  button.disabled = true;
  try {
    tell(await takeBack());
  } catch (error) {
    tell(error instanceof Error ? error.message : String(error));
  }
});
// What is in a dialog that is closed cannot be seen.
document.addEventListener("close", () => host().append(bar), true);

/** An open dialog alone can be used. */
const host = () => [...document.querySelectorAll("dialog[open]")].at(-1) ?? byId("content");

/**
 * Offer to take back what was done.
 * @param {string} done
 * @param {() => Promise<string>} act takes it back; what is said then
 */
export function offerUndo(done, act) {
  takeBack = act;
  tell(done);
  button.hidden = button.disabled = false;
}

/** @param {string} message */
function tell(message) {
  host().append(bar);
  bar.hidden = false;
  button.hidden = true;
  say(text, message);
  clearTimeout(timer);
  timer = setTimeout(() => (bar.hidden = true), SHOWN_MILLISECONDS);
}
