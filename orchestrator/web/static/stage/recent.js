/** The batches that were begun last, here or at the command line. */

import { recentBatches } from "../api.js";
import { byId, make, say } from "../dom.js";
import { standing, titleOf } from "../words.js";

/** Ask for them and list them. */
export async function showRecent() {
  const note = byId("recent-note");
  say(note, "Looking…");
  try {
    const { batches } = await recentBatches();
    byId("recent-list").replaceChildren(...batches.map(entry));
    note.hidden = batches.length > 0;
    say(note, batches.length ? "" : "There is no batch yet.");
  } catch (/** @type {any} */ error) {
    say(note, error.message);
  }
}

/** @type {Record<string, string>} */
const LOOKS = { queued: "busy", generating: "busy", complete: "good", failed: "bad", cancelled: "" };

/** @param {any} batch */
function entry(batch) {
  const address = `/?${new URLSearchParams({ batch: batch.batchId })}`;
  // A prompt may make several.
  const images =
    batch.pictures > batch.completedImages ? `${batch.pictures}` : `${batch.completedImages} of ${batch.totalImages}`;
  const failed = batch.failedImages ? `, ${batch.failedImages} failed` : "";
  const began = new Date(batch.createdAt).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  return make(
    "li",
    {},
    make("a", { href: address }, titleOf(batch)),
    make(
      "p",
      { className: "row small soft" },
      make("span", { className: `badge ${LOOKS[batch.status] ?? ""}` }, standing(batch.status)),
      `${images} images${failed} · ${began}`,
    ),
  );
}
