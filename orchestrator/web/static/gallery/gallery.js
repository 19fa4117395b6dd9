/** The page `/gallery`: what is looked for is in its address, what is found in one of two lists. */

import { Away, deleteBatch, emptyTrash, galleryBatches, galleryImages, restoreImages, trashOf } from "../api.js";
import { confirmed } from "../confirm.js";
import { byId, notify, onRetry, say } from "../dom.js";
import { Endless } from "./endless.js";
import { keepScroll } from "../kept.js";
import { batchRow, keyOfImage, pictureTile, trashTile } from "./tiles.js";
import { offerUndo } from "../undo.js";
import { Viewer } from "../viewer/viewer.js";
import { counted, titleOf } from "../words.js";

const TYPING_MILLISECONDS = 250;
const FIELDS = ["text", "model", "from", "to", "state", "view"];

/** @type {HTMLFormElement} */
const form = byId("filter");
const field = (/** @type {string} */ name) => /** @type {any} */ (form.elements.namedItem(name));
const viewer = new Viewer({
  items: () => lists.pictures.items,
  more: () => lists.pictures.next(),
  gone: (image, done) => {
    forget((one) => one.batchId === image.batchId && one.image === image.image);
    offerUndo("The image is in the trash.", () => bringBack(done));
  },
  failed,
  left: (image) => lists.pictures.elementOf(keyOfImage(image))?.querySelector("a")?.focus(),
});
const shared = { failed, told };
/** @type {Record<string, Endless>} */
const lists = {
  pictures: new Endless(byId("pictures"), byId("more"), {
    ask: galleryImages,
    itemsOf: (answer) => answer.images,
    keyOf: keyOfImage,
    show: (image) => pictureTile(image, (one) => viewer.open(one)),
    ...shared,
  }),
  batches: new Endless(byId("batches"), byId("more"), {
    ask: galleryBatches,
    itemsOf: (answer) => answer.batches,
    keyOf: (batch) => batch.batchId,
    show: (batch) => batchRow(batch, remove),
    ...shared,
  }),
  trash: new Endless(byId("trash"), byId("more"), {
    ask: (query, signal) => trashOf(stateShown(), query, signal),
    itemsOf: (answer) => answer.images,
    keyOf: (image) => image.trash,
    show: (image) => trashTile(image, restore),
    ...shared,
  }),
};
let total = 0;
/** @type {number | undefined} */
let typing;

const view = () => String(field("view").value);
/** Each state has a trash of its own. */
const stateShown = () => Number(field("state")?.value || 0);

/** What the address says, into the form. */
function read() {
  const said = new URLSearchParams(location.search);
  const model = said.get("model");
  if (model && ![...field("model").options].some((one) => one.value === model)) field("model").append(new Option(model));
  for (const name of FIELDS) {
    if (!field(name)) continue;
    field(name).value = said.get(name) ?? (name === "view" ? "pictures" : "");
  }
}

/** What the form says, into the address. */
function write() {
  const said = FIELDS.map((name) => [name, String(field(name)?.value ?? "").trim()]);
  const kept = said.filter(([name, value]) => value && !(name === "view" && value === "pictures"));
  const query = String(new URLSearchParams(kept));
  history.replaceState(history.state, "", query ? `?${query}` : location.pathname);
}

/** What the API is asked for. A day is one of this reader's, so it is told by its moments. */
function query() {
  const asked = new URLSearchParams();
  for (const name of ["text", "model", "state"]) if (field(name)?.value) asked.set(name, field(name).value);
  if (field("from").value) asked.set("from", midnight(field("from").value, 0));
  if (field("to").value) asked.set("to", midnight(field("to").value, 1));
  return asked;
}

/** @param {string} day @param {number} after days */
function midnight(day, after) {
  const [year, month, date] = day.split("-").map(Number);
  return new Date(year, month - 1, date + after).toISOString();
}

async function look() {
  clearTimeout(typing);
  const chosen = view();
  for (const [name, list] of Object.entries(lists)) {
    byId(name).hidden = name !== chosen;
    if (name !== chosen) list.close();
  }
  byId("clear").hidden = !query().size;
  form.dataset.view = chosen;
  byId("trash-acts").hidden = chosen !== "trash";
  await lists[chosen].open(query());
}

/** @param {any} answer */
function told(answer) {
  notify(byId("gallery-alert"), "");
  total = answer.total;
  if (answer.models) offer(answer.models);
  const notes = answer.notes ?? [];
  byId("notes").hidden = !notes.length;
  say(byId("notes"), notes.join("\n"));
  if (answer.keptDays) say(byId("trash-text"), `Images in the trash are deleted for good after ${answer.keptDays} days.`);
  count();
}

function count() {
  const batches = `${total} ${total === 1 ? "batch" : "batches"}`;
  say(byId("found"), view() === "batches" ? batches : counted(total, "image"));
  byId("empty").hidden = total > 0;
  byId("trash-empty").disabled = !total;
  let nothing = query().size ? "Nothing matches." : "No images yet. Batch Generate makes some.";
  if (view() === "trash") nothing = "The trash is empty.";
  say(byId("empty"), total ? "" : nothing);
}

/** @param {string[]} models */
function offer(models) {
  const chosen = field("model").value;
  const names = models.includes(chosen) || !chosen ? models : [...models, chosen];
  const there = [...field("model").options].slice(1).map((option) => option.value);
  if (JSON.stringify(names) === JSON.stringify(there)) return;
  field("model").replaceChildren(new Option("All", ""), ...names.map((name) => new Option(name)));
  field("model").value = chosen;
}

/** @param {unknown} error */
function failed(error) {
  const detail = error instanceof Away ? error.detail : "";
  notify(byId("gallery-alert"), error instanceof Error ? error.message : String(error), detail);
}

/** @param {(one: any) => boolean} isGone */
function forget(isGone) {
  total -= lists[view()].drop(isGone);
  count();
}

/** @param {any} batch */
async function remove(batch) {
  const text = `All of its images (${batch.completedImages}) go to the trash, from which they can be brought back for 30 days.`;
  const title = "Delete this batch?";
  const done = await confirmed(title, `${titleOf(batch)}\n${text}`, () => deleteBatch(batch.batchId));
  if (!done) return;
  forget((one) => one.batchId === batch.batchId);
  offerUndo("The batch is in the trash.", () => bringBack(done));
  if (done.kept.length) notify(byId("gallery-alert"), "Files that were changed since, or are others' too, stay", done.kept.join(", "));
}

/** Undo. @param {any} done what the API answered to the deletion @returns {Promise<string>} what is said then */
async function bringBack(done) {
  const { restored, kept } = await restoreImages(done.state, done.trash);
  await look();
  return kept.length ? kept.join("; ") : `${counted(restored.length, "file")} brought back.`;
}

/** @param {any} image in the trash */
async function restore(image) {
  try {
    const { kept } = await restoreImages(stateShown(), [image.trash]);
    notify(byId("gallery-alert"), kept.join("; "));
    if (!kept.length) forget((one) => one.trash === image.trash);
  } catch (error) {
    failed(error);
  }
}

byId("trash-empty").addEventListener("click", async () => {
  const text = `${counted(total, "image")} will be deleted for good. This cannot be undone.`;
  if (await confirmed("Empty the trash?", text, () => emptyTrash(stateShown()))) look();
});

form.addEventListener("input", (event) => {
  write();
  clearTimeout(typing);
  const isTyped = /** @type {HTMLElement} */ (event.target).matches("[type=search]");
  typing = setTimeout(look, isTyped ? TYPING_MILLISECONDS : 0);
});
form.addEventListener("reset", (event) => {
  event.preventDefault();
  history.replaceState(null, "", view() === "pictures" ? location.pathname : `?view=${view()}`);
  read();
  look();
  field("text").focus();
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  look();
});
onRetry(byId("gallery-alert"), look);
read();
await look();
viewer.place.arrive();
keepScroll(
  () => lists[view()].items.length,
  (count) => lists[view()].reach(count),
);
