/** The page `/gallery`: what is looked for is in its address, what is found in one of two lists. */

import { Refused, deleteBatch, emptyTrash, galleryBatches, restoreImages, trashOf } from "../api.js";
import { alarm } from "../away.js";
import { confirmed } from "../confirm.js";
import { byId, notify, onRetry, say } from "../dom.js";
import { Endless } from "./endless.js";
import { keepScroll } from "../kept.js";
import { Images } from "./images.js";
import { SearchField, withMoments } from "./search.js";
import { batchRow, trashTile } from "./tiles.js";
import { offerUndo } from "../undo.js";
import { counted, titleOf } from "../words.js";

const TYPING_MILLISECONDS = 250;
const FIELDS = ["text", "sort", "model", "from", "to", "state", "view"];
/** @type {Record<string, string>} */
const DEFAULTS = { view: "pictures", sort: "newest" };
/** How often is looked again while the index is being built. */
const INDEXING_MILLISECONDS = 1500;

/** @type {HTMLFormElement} */
const form = byId("filter");
const field = (/** @type {string} */ name) => /** @type {any} */ (form.elements.namedItem(name));
const images = new Images({
  told,
  failed,
  gone: (_image, done) => offerUndo("The image is in the trash.", () => bringBack(done)),
});
const search = new SearchField(() => changed(0));
const shared = { failed, told };
/** @type {Record<string, Endless>} */
const lists = {
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
/** @type {number | undefined} */
let indexing;

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
    field(name).value = said.get(name) ?? DEFAULTS[name] ?? "";
  }
}

/** What the form says, into the address. */
function write() {
  const said = FIELDS.map((name) => [name, String(field(name)?.value ?? "").trim()]);
  const kept = said.filter(([name, value]) => value && value !== DEFAULTS[name]);
  const query = String(new URLSearchParams(kept));
  history.replaceState(history.state, "", query ? `?${query}` : location.pathname);
}

/** What the API is asked for. A day is one of this reader's, so it is told by its moments. */
function query() {
  const asked = new URLSearchParams();
  for (const name of ["model", "state"]) if (field(name)?.value) asked.set(name, field(name).value);
  const text = field("text").value.trim();
  if (text) asked.set("text", withMoments(text));
  if (view() === "pictures" && field("sort").value !== DEFAULTS.sort) asked.set("sort", field("sort").value);
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
  clearTimeout(indexing);
  const chosen = view();
  byId("pictures").hidden = chosen !== "pictures";
  if (chosen !== "pictures") {
    images.close();
    images.selection.clear();
  }
  for (const [name, list] of Object.entries(lists)) {
    byId(name).hidden = name !== chosen;
    if (name !== chosen) list.close();
  }
  const asked = query();
  asked.delete("sort");
  byId("clear").hidden = !asked.size;
  form.dataset.view = chosen;
  byId("trash-acts").hidden = chosen !== "trash";
  if (chosen === "pictures") await images.open(query());
  else await lists[chosen].open(query());
}

/** @param {any} answer */
function told(answer) {
  notify(byId("gallery-alert"), "");
  search.wrong("");
  total = answer.total;
  tellIndexing(answer.indexing);
  if (answer.models) offer(answer.models);
  const notes = answer.notes ?? [];
  byId("notes").hidden = !notes.length;
  say(byId("notes"), notes.join("\n"));
  if (answer.keptDays) say(byId("trash-text"), `Images in the trash are permanently deleted after ${answer.keptDays} days.`);
  count();
}

/** Look again until everything is there. @param {{done: number, total: number} | null | undefined} now */
function tellIndexing(now) {
  clearTimeout(indexing);
  byId("indexing").hidden = !now;
  if (!now) return;
  say(byId("indexing"), `Looking through all images: ${now.done.toLocaleString()} of ${now.total.toLocaleString()}. More may match.`);
  indexing = setTimeout(() => (view() === "pictures" ? images.pages.reload() : look()), INDEXING_MILLISECONDS);
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
  if (error instanceof Refused && error.field === "text") {
    search.wrong(error.message);
    return;
  }
  alarm(byId("gallery-alert"), error);
}

/** @param {(one: any) => boolean} isGone */
function forget(isGone) {
  total -= lists[view()].drop(isGone);
  count();
}

/** @param {any} batch */
async function remove(batch) {
  const text = `All of its images (${batch.completedImages}) go to the trash, from which you can restore them for 30 days.`;
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
  return kept.length ? kept.join("; ") : `${counted(restored.length, "file")} restored.`;
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
  const text = `${counted(total, "image")} will be permanently deleted. This cannot be undone.`;
  if (await confirmed("Empty the trash?", text, () => emptyTrash(stateShown()))) look();
});

/** @param {number} milliseconds until it is looked for */
function changed(milliseconds) {
  write();
  clearTimeout(typing);
  if (!search.isUnfinished) typing = setTimeout(look, milliseconds);
}

form.addEventListener("input", (event) => {
  changed(event.target === field("text") ? TYPING_MILLISECONDS : 0);
});
form.addEventListener("reset", (event) => {
  event.preventDefault();
  history.replaceState(null, "", view() === "pictures" ? location.pathname : `?view=${view()}`);
  read();
  look();
  field("text").focus();
});
byId("more-filters").addEventListener("click", (/** @type {any} */ event) => {
  event.currentTarget.ariaExpanded = String(form.classList.toggle("open"));
});
form.addEventListener("submit", (event) => {
  event.preventDefault();
  search.close();
  look();
});
onRetry(byId("gallery-alert"), look);
read();
look().then(() => {
  images.arrive();
  keepScroll(
    () => lists[view()]?.items.length ?? 0,
    async (count) => lists[view()]?.reach(count),
  );
});
