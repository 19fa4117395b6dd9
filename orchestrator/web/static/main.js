/** The page `/`: the composer, and beside it all batches, or at `/?batch=ID` that one. */

import { BatchView } from "./stage/batch.js";
import { byId } from "./dom.js";
import { BatchForm } from "./composer/form.js";
import { keepTyped } from "./kept.js";
import { showRecent } from "./stage/recent.js";

const workspace = byId("workspace");
/** Where there is no room for both, the composer makes way for a batch. */
const isNarrow = matchMedia("(max-width: 899px)");
keepTyped(byId("batch-form"));
const view = new BatchView((started, prompt) => visit(started, prompt));
const form = new BatchForm((started, prompt) => visit(started, prompt));

/** Go to a batch that was just begun. @param {any} started @param {string} prompt */
function visit(started, prompt) {
  history.pushState(null, "", `/?${new URLSearchParams({ batch: started.batchId })}`);
  show({ started, prompt });
  scrollTo({ top: 0, behavior: "instant" });
}

/** The batch that is shown. @type {string | null} */
let shown;
const batchOf = () => new URLSearchParams(location.search).get("batch");

/** Show what the address says. @param {{started?: any, prompt?: string}} [known] */
function show({ started, prompt } = {}) {
  const batchId = batchOf();
  const wasNarrow = Boolean(shown) && isNarrow.matches;
  shown = batchId;
  if (batchId && isNarrow.matches) fold(true);
  else if (wasNarrow) fold(false);
  byId("recent").hidden = Boolean(batchId);
  if (batchId) {
    view.open(batchId, { started, prompt });
    return;
  }
  view.close();
  document.title = "Create · Burst";
  showRecent();
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
  if (wantsRecent && shown) {
    history.pushState(null, "", "/");
    show();
  } else if (wantsRecent) showRecent();
  fold(wantsRecent);
});
byId("new-batch").addEventListener("click", (/** @type {MouseEvent} */ event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", "/");
  show();
  fold(false);
  byId("prompt").focus();
});
addEventListener("popstate", () => {
  // What else the address says, such as two images side by side, is for those who show that.
  if (batchOf() !== shown) show();
});
fold(byId("composer").querySelector("[name=kind]:checked").value === "recent");
show();
