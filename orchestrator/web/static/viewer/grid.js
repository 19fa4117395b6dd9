/** The page `/grid`: a sweep as a table of two of its axes, which the address names. */

import { gridAddress, gridOf, restoreImages } from "../api.js";
import { byId, make, notify, onRetry, say } from "../dom.js";
import { offerUndo } from "../undo.js";
import { counted, differenceOf, missingWord, nameOf, titleOf } from "../words.js";
import { allOf, listed, Viewer } from "./viewer.js";

const AGAIN_MILLISECONDS = 2_000;
/** Of a large sweep every look costs its server something: most of the time it is left alone. */
const PAUSES = 10;
const AXES = ["rows", "columns"];
/** The least and the most that a cell is made by itself, what is between two, and the heads of the rows. */
const CELL_PIXELS = [96, 280];
const GAP_PIXELS = 10;
const HEADS_PIXELS = 120;

const alert = byId("grid-alert");
const table = byId("grid-table");
/** As the last answer has it. @type {any} */
let grid = null;
let drawn = "";
/** Somebody chose how large the cells are. */
let isSized = false;
let asking = new AbortController();
let timer = 0;

const viewer = new Viewer({
  items: () => allOf(images().filter((image) => image.url || image.status === "failed" || image.image === viewer.image?.image)),
  gone: (_, done) => {
    look();
    offerUndo("The image is in the trash.", async () => {
      const { restored, kept } = await restoreImages(done.state, done.trash);
      await look();
      return kept.length ? kept.join("; ") : `${counted(restored.length, "file")} restored.`;
    });
  },
  retried: () => look(),
  left: (image) => table.querySelector(`[data-image="${CSS.escape(`${image?.batchId}/${image?.image}`)}"]`)?.focus(),
  failed,
});
viewer.opensLinks(table);

/** All images of the table, row by row. @returns {any[]} */
function images() {
  if (!grid) return [];
  const batch = { batchId: grid.batchId, batchName: grid.name, prompt: grid.title };
  return grid.cells.flat(2).map((/** @type {any} */ image) => listed(batch, image));
}

/** What the address asks for. */
function asked() {
  const said = new URLSearchParams(location.search);
  const query = new URLSearchParams();
  for (const name of [...AXES, "at"]) if (said.get(name)) query.set(name, said.get(name) ?? "");
  return { batch: said.get("batch") ?? "", query };
}

/** Fetch the table that the address names; while anything of it is left, again and again. */
async function look() {
  clearTimeout(timer);
  asking.abort();
  asking = new AbortController();
  const { signal } = asking;
  const { batch, query } = asked();
  const began = performance.now();
  try {
    const answer = await gridOf(batch, query, signal);
    const isFirst = !grid;
    grid = answer;
    notify(alert, "");
    show();
    if (isFirst) viewer.place.arrive();
    viewer.refresh();
    if (grid.remaining) timer = setTimeout(look, Math.max(AGAIN_MILLISECONDS, PAUSES * (performance.now() - began)));
  } catch (error) {
    if (!signal.aborted) failed(error);
  }
}

/** @param {any} error */
function failed(error) {
  notify(alert, error.message ?? String(error), error.detail);
}

function show() {
  say(byId("grid-title"), titleOf(grid));
  document.title = `Grid · ${titleOf(grid).slice(0, 60)} · Burst`;
  byId("grid-batch").href = `/?${new URLSearchParams({ batch: grid.batchId })}`;
  byId("grid-choice").hidden = byId("grid-scroller").hidden = false;
  choices();
  const { query } = asked();
  byId("grid-png").href = gridAddress(grid.batchId, query, ".png");
  byId("grid-html").href = gridAddress(grid.batchId, query, ".html");
  say(byId("grid-note"), noteOf());
  // What is looked at stays where it is unless something has changed.
  const looks = JSON.stringify([grid.cells, grid.rows, grid.columns, grid.axes]);
  if (looks !== drawn) {
    draw();
    fit();
  }
  drawn = looks;
}

/** Cells as large as all columns have room for, until somebody chooses. */
function fit() {
  if (isSized) return;
  const room = /** @type {HTMLElement} */ (byId("grid-scroller").parentElement).clientWidth - HEADS_PIXELS;
  const [least, most] = CELL_PIXELS;
  const columns = grid.axes[grid.columns].values.length * (grid.cells.flat().some((/** @type {any[]} */ cell) => cell.length > 1) ? 2 : 1);
  byId("grid-size").value = String(Math.max(least, Math.min(most, room / columns - GAP_PIXELS)));
  size();
}

function size() {
  table.style.setProperty("--cell", `${byId("grid-size").value}px`);
}

function noteOf() {
  const others = grid.others ? `${counted(grid.others, "item")} whose inputs were changed since ${grid.others === 1 ? "is" : "are"} not in it.` : "";
  return [grid.remaining ? `${counted(grid.remaining, "item")} of the batch still to be done.` : "", others].filter(Boolean).join(" ");
}

/** The lists above the table. */
function choices() {
  const names = grid.axes.map((/** @type {any} */ axis) => axis.name);
  for (const axis of AXES) options(byId(`grid-${axis}`), names, grid[axis]);
  byId("grid-rows-field").hidden = byId("grid-swap").hidden = byId("grid-columns-field").hidden = names.length < 2;
  const shown = [grid.rows, grid.columns];
  const others = grid.axes.flatMap((/** @type {any} */ axis, /** @type {number} */ at) => (shown.includes(at) ? [] : [[axis, at]]));
  const before = [...byId("grid-others").querySelectorAll("select")].map((one) => one.dataset.axis).join();
  const now = others.map((/** @type {[any, number]} */ [, at]) => at).join();
  if (before !== now) byId("grid-others").replaceChildren(...others.map((/** @type {[any, number]} */ [axis, at]) => selector(axis, at)));
  for (const one of byId("grid-others").querySelectorAll("select")) {
    options(one, grid.axes[Number(one.dataset.axis)].values, grid.at[Number(one.dataset.axis)]);
  }
}

/** @param {any} axis @param {number} at */
function selector(axis, at) {
  const select = make("select", { id: `grid-axis-${at}`, "data-axis": String(at) });
  return make("div", { className: "field" }, make("label", { htmlFor: select.id }, axis.name), select);
}

/** @param {any} select @param {string[]} names @param {number | null} chosen */
function options(select, names, chosen) {
  const there = [...select.options].map((one) => one.textContent);
  if (JSON.stringify(there) !== JSON.stringify(names)) {
    select.replaceChildren(...names.map((name, at) => new Option(name, String(at))));
  }
  select.value = String(chosen ?? "");
}

function draw() {
  const across = grid.axes[grid.columns];
  const down = grid.rows === null ? null : grid.axes[grid.rows];
  const corner = down && make("th", { className: "corner", scope: "col" }, `${down.name} ↓  ${across.name} →`);
  const heads = across.values.map((/** @type {string} */ value) => head(value, "col"));
  const rows = grid.cells.map((/** @type {any[][]} */ cells, /** @type {number} */ at) =>
    make("tr", {}, ...(down ? [head(down.values[at], "row")] : []), ...cells.map((cell) => make("td", {}, cellOf(cell)))),
  );
  const caption = make("caption", { className: "aside" }, down ? `${down.name} by ${across.name}` : across.name);
  table.replaceChildren(caption, make("thead", {}, make("tr", {}, ...(corner ? [corner] : []), ...heads)), make("tbody", {}, ...rows));
}

/** @param {string} text @param {"row" | "col"} scope */
const head = (text, scope) => make("th", { scope, title: text }, make("span", { className: "head-text" }, text));

/** @param {any[]} cell */
function cellOf(cell) {
  const inside = cell.length ? cell.map(imageOf) : [make("span", { className: "none" }, "Empty")];
  return make("div", { className: cell.length > 1 ? "cell many" : "cell" }, ...inside);
}

/** @param {any} image */
function imageOf(image) {
  const opens = { "data-image": `${grid.batchId}/${image.image}`, href: addressOf(image) };
  if (image.thumbnail) {
    const alt = [nameOf(image), differenceOf(image)].filter(Boolean).join(", ");
    return make("a", opens, make("img", { src: image.thumbnail, alt, loading: "lazy", decoding: "async" }));
  }
  const word = image.url ? "File" : missingWord(image.status);
  const isOpened = image.url || image.status === "failed";
  return make(isOpened ? "a" : "span", { className: image.status, title: image.error ?? "", ...(isOpened ? opens : {}) }, word);
}

/** @param {any} image */
function addressOf(image) {
  const query = new URLSearchParams(location.search);
  query.set("image", `${grid.batchId}/${image.image}`);
  return `/grid?${query}`;
}

/** Another table. @param {Record<string, number | null>} wanted @param {number[]} [at] */
function choose(wanted, at = grid.at) {
  const query = new URLSearchParams({ batch: asked().batch });
  for (const name of AXES) if (wanted[name] !== null) query.set(name, String(wanted[name]));
  query.set("at", at.join());
  history.replaceState(history.state, "", `/grid?${query}`);
  look();
}

for (const name of AXES) {
  byId(`grid-${name}`).addEventListener("change", (/** @type {any} */ event) => {
    const other = AXES.find((one) => one !== name) ?? "";
    const chosen = Number(event.target.value);
    // The axis that the other one had.
    choose({ [name]: chosen, [other]: grid[other] === chosen ? grid[name] : grid[other] });
  });
}
byId("grid-swap").addEventListener("click", () => choose({ rows: grid.columns, columns: grid.rows }));
byId("grid-others").addEventListener("change", (/** @type {any} */ event) => {
  const at = [...grid.at];
  at[Number(event.target.dataset.axis)] = Number(event.target.value);
  choose(grid, at);
});
byId("grid-size").addEventListener("input", () => {
  isSized = true;
  size();
});
byId("grid-choice").addEventListener("submit", (/** @type {Event} */ event) => event.preventDefault());
// All are as large as the first one.
table.addEventListener("load", (/** @type {any} */ event) => {
  if (!table.style.getPropertyValue("--shape")) {
    table.style.setProperty("--shape", `${event.target.naturalWidth} / ${event.target.naturalHeight}`);
  }
}, true);
onRetry(alert, look);
size();
look();
