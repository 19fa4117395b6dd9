/** The batches that were begun last, here or at the command line. */

import { recentBatches } from "./api.js";
import { byId, make, say } from "./dom.js";

/** Ask for them and list them. */
export async function showRecent() {
  const note = byId("recent-note");
  say(note, "Looking…");
  try {
    const { batches } = await recentBatches();
    byId("recent-list").replaceChildren(...batches.map(entry));
    say(note, batches.length ? "" : "There is no batch yet.");
  } catch (/** @type {any} */ error) {
    say(note, error.message);
  }
}

/** @param {any} batch */
function entry(batch) {
  const address = `/?${new URLSearchParams({ batch: batch.batchId })}`;
  return make("li", { className: "row apart" }, make("a", { href: address }, batch.prompt || batch.batchId));
}
