/** The page `/gallery`: what is looked for is in its address, what is found in one of two lists. */

import { Away, deleteBatch, galleryBatches, galleryImages } from "./api.js";
import { confirmed } from "./confirm.js";
import { byId, notify, onRetry, say } from "./dom.js";
import { Endless } from "./endless.js";
import { keepScroll } from "./kept.js";
import { batchRow, keyOfImage, pictureTile } from "./tiles.js";
import { Viewer } from "./viewer.js";
import { counted, titleOf } from "./words.js";

const TYPING_MILLISECONDS = 250;
const FIELDS = ["text", "model", "from", "to", "state", "view"];

/** @type {HTMLFormElement} */
const form = byId("filter");
const field = (/** @type {string} */ name) => /** @type {any} */ (form.elements.namedItem(name));
const viewer = new Viewer({
  items: () => lists.pictures.items,
  more: () => lists.pictures.next(),
  gone: (image) => forget((one) => one.batchId === image.batchId && one.image === image.image),
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
};
let total = 0;
/** @type {number | undefined} */
let typing;

const view = () => String(field("view").value);

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
  await lists[chosen].open(query());
}

/** @param {any} answer */
function told(answer) {
  notify(byId("gallery-alert"), "");
  total = answer.total;
  offer(answer.models);
  byId("notes").hidden = !answer.notes.length;
  say(byId("notes"), answer.notes.join("\n"));
  count();
}

function count() {
  const batches = `${total} ${total === 1 ? "batch" : "batches"}`;
  say(byId("found"), view() === "batches" ? batches : counted(total, "image"));
  byId("empty").hidden = total > 0;
  const nothing = query().size ? "Nothing matches." : "No images yet. Batch Generate makes some.";
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
  const text = `All of its images (${batch.completedImages}) are removed from the disk, with what is known of them.`;
  const title = "Delete this batch?";
  const done = await confirmed(title, `${titleOf(batch)}\n${text}`, () => deleteBatch(batch.batchId));
  if (!done) return;
  forget((one) => one.batchId === batch.batchId);
  if (done.kept.length) notify(byId("gallery-alert"), "Files that were changed since, or are others' too, stay", done.kept.join(", "));
}

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
viewer.place.arrive();
await look();
keepScroll(
  () => lists[view()].items.length,
  (count) => lists[view()].reach(count),
);
