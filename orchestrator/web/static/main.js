/** Which part of the page is shown: the form at `/`, a batch at `/?batch=ID`. */

import { BatchView } from "./stage/batch.js";
import { byId } from "./dom.js";
import { BatchForm } from "./composer/form.js";
import { keepTyped } from "./kept.js";
import { showRecent } from "./stage/recent.js";

const entry = byId("entry");
keepTyped(byId("batch-form"));
const view = new BatchView((started, prompt) => visit(started, prompt));
const form = new BatchForm((started, prompt) => visit(started, prompt));

/** Go to a batch that was just begun. @param {any} started @param {string} prompt */
function visit(started, prompt) {
  history.pushState(null, "", `/?${new URLSearchParams({ batch: started.batchId })}`);
  show({ started, prompt });
}

/** The batch that is shown. @type {string | null} */
let shown;
const batchOf = () => new URLSearchParams(location.search).get("batch");

/** Show what the address says. @param {{started?: any, prompt?: string}} [known] */
function show({ started, prompt } = {}) {
  const batchId = batchOf();
  shown = batchId;
  entry.hidden = Boolean(batchId);
  if (batchId) {
    view.open(batchId, { started, prompt });
    return;
  }
  view.close();
  document.title = "Create · Burst";
  showKind();
  form.options.load();
}

function showKind() {
  const kind = entry.querySelector("[name=kind]:checked").value;
  byId("batch-form").hidden = kind !== "batch";
  byId("recent").hidden = kind !== "recent";
  if (kind === "recent") showRecent();
}

entry.querySelector(".kinds").addEventListener("change", showKind);
byId("new-batch").addEventListener("click", (/** @type {MouseEvent} */ event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  history.pushState(null, "", "/");
  show();
  byId("prompt").focus();
});
addEventListener("popstate", () => {
  // What else the address says, such as two images side by side, is for those who show that.
  if (batchOf() !== shown) show();
});
show();
