/** Buttons that copy a text. */

import { make } from "../dom.js";
import { icon } from "./icons.js";

/** @param {string} text @returns {Promise<boolean>} whether it is on the clipboard now */
export async function copied(text) {
  try {
    // Only what comes from this machine, or by TLS, may use the clipboard.
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    return false;
  }
}

/**
 * @param {string} what it copies, such as `seed`
 * @param {() => string} text
 * @param {(said: string) => void} tell
 * @returns {HTMLButtonElement}
 */
export function copyButton(what, text, tell) {
  const button = make("button", { type: "button", className: "copy", "aria-label": `Copy ${what}`, title: `Copy ${what}` }, icon("copy"));
  button.addEventListener("click", async () => {
    const done = await copied(text());
    const said = `${what[0].toUpperCase()}${what.slice(1)} copied`;
    tell(done ? said : "This browser does not let a page copy: select the text and copy it");
  });
  return button;
}
