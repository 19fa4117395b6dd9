/** The page `/`: the composer, and beside it all batches, or at `/?batch=ID` that one. */

import { BatchForm } from "./composer/form.js";
import { byId } from "./dom.js";
import { keepTyped } from "./kept.js";
import { BatchView } from "./stage/batch.js";
import { Feed } from "./stage/feed.js";
import { nameTab } from "./tab.js";
import { Viewer } from "./viewer/viewer.js";

const workspace = byId("workspace");
/** Where there is no room for both, the composer makes way for a batch. */
const isNarrow = matchMedia("(max-width: 899px)");
const batchOf = () => new URLSearchParams(location.search).get("batch");
keepTyped(byId("batch-form"));

const feed = new Feed();
/** What is shown beside the composer. */
const room = () => (shown ? view : feed).told;
const viewer = new Viewer({
  items: (key) => room().items(key),
  more: (key) => room().more(key),
  gone: (image, done) => room().gone(image, done),
  retried: () => room().retried(),
  left: (image) => room().left(image),
  failed: (error) => room().failed(error),
});
const view = new BatchView((started, prompt) => visit(started.batchId, { started, prompt }), viewer);
const form = new BatchForm((started, prompt) => visit(started.batchId, { started, prompt }));
viewer.opensLinks(byId("images"));
feed.changed = () => {
  if (!shown) viewer.refresh();
};

/** The batch that is shown. @type {string | null} */
let shown = null;
/** How far the feed was scrolled when a batch of it was opened. */
let top = 0;

/** Go to a batch, or to all of them. @param {string | null} batchId @param {{started?: any, prompt?: string}} [known] */
function visit(batchId, known) {
  if (!shown) top = scrollY;
  history.pushState(null, "", batchId ? `/?${new URLSearchParams({ batch: batchId })}` : "/");
  show(known);
}

/** Show what the address says. @param {{started?: any, prompt?: string}} [known] */
async function show({ started, prompt } = {}) {
  const before = shown;
  shown = batchOf();
  if (isNarrow.matches && (before || shown)) fold(Boolean(shown));
  if (shown) {
    feed.close();
    view.open(shown, { started, prompt });
    scrollTo({ top: 0, behavior: "instant" });
    return;
  }
  view.close();
  nameTab("Create · Burst");
  const opened = feed.open();
  if (before) scrollTo({ top, behavior: "instant" });
  await opened;
  if (!shown) viewer.place.arrive();
}

/** Whether the composer is folded away, so that the images have all the width. @param {boolean} folded */
function fold(folded) {
  byId("composer").querySelector(`[name=kind][value=${folded ? "recent" : "batch"}]`).checked = true;
  workspace.classList.toggle("folded", folded);
  byId("batch-form").hidden = folded;
  if (!folded) form.options.load();
}

byId("composer").querySelector(".kinds").addEventListener("change", (/** @type {any} */ event) => {
  const wantsRecent = event.target.value === "recent";
  if (wantsRecent && shown) visit(null);
  fold(wantsRecent);
});
byId("images").addEventListener("click", (/** @type {MouseEvent} */ event) => {
  const link = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("a[data-batch]"));
  if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  visit(link.dataset.batch ?? null);
});
for (const id of ["new-batch", "all-batches"]) {
  byId(id).addEventListener("click", (/** @type {MouseEvent} */ event) => {
    if (event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    visit(null);
    if (id === "all-batches") return;
    fold(false);
    byId("prompt").focus();
  });
}
addEventListener("popstate", () => {
  // What else the address says, such as an image, is for those who show that.
  if (batchOf() !== shown) show();
});
fold(byId("composer").querySelector("[name=kind]:checked").value === "recent");
show();
