/** The page of the states: what is done and left, how the bursts went, what failed, and the servers. */

import { pauseRuns, resumeRuns, retryItems, serversOf, stateOf } from "../api.js";
import { alarm } from "../away.js";
import { byId, make, notify, onRetry, say } from "../dom.js";
import { poll } from "../polling.js";
import { beyond, unusable } from "../unusable.js";
import { counted, duration } from "../words.js";

/** How items stand, as the API calls it, and for people. */
const STATUSES = { completed: "Done", submitted: "Running", pending: "Queued", failed: "Failed", cancelled: "Cancelled" };
const LOOKS = { done: "good", running: "busy", killed: "bad", error: "bad", crashed: "bad" };
const SERVERS_EVERY_MILLISECONDS = 4_000;
const FAILED_SHOWN = 100;

/** @type {AbortController | null} */
let watching = null;
let shown = "";
const wake = new EventTarget();

/** Follow one state, instead of the one before. @param {number} number */
function watch(number) {
  watching?.abort();
  watching = new AbortController();
  const { signal } = watching;
  shown = "";
  for (const button of document.querySelectorAll("#choose button")) {
    button.setAttribute("aria-pressed", String(/** @type {HTMLElement} */ (button).dataset.state === String(number)));
  }
  const heard = (/** @type {any} */ state) => {
    notify(byId("away"), "");
    show(state);
    return false;
  };
  const away = (/** @type {any} */ error) => alarm(byId("away"), error);
  poll(() => stateOf(number, signal), { heard, away, signal, wake }).catch(away);
  watchServers(number, signal);
}

/** @param {number} number @param {AbortSignal} signal */
async function watchServers(number, signal) {
  while (!signal.aborted) {
    try {
      if (!document.hidden) byId("servers").replaceChildren(...(await serversOf(number, signal)).map(server));
    } catch {
      // Said by the other question.
    }
    await new Promise((done) => setTimeout(done, SERVERS_EVERY_MILLISECONDS));
  }
}

/** @param {any} state */
function show(state) {
  const all = JSON.stringify(state);
  if (all === shown) return;
  shown = all;
  say(byId("path"), state.path);
  showWorking(state);
  showCounts(state);
  showPause(state);
  showSetAside(state);
  showBursts(state);
  showFailed(state);
}

/** @param {any} state */
function showWorking(state) {
  const left = state.counts.pending + state.counts.submitted;
  const badge = byId("working");
  const [look, text] = standing(state, left);
  badge.className = `badge ${look}`;
  say(badge, text);
  const message = state.paused ? "" : beyond(state.message, state.setAside);
  byId("message").hidden = !message;
  say(byId("message"), message);
}

/** @param {any} state */
function showPause({ state, exists, paused }) {
  byId("pause").hidden = byId("free").hidden = !exists || paused !== null;
  byId("resume").hidden = byId("paused").hidden = paused === null;
  if (paused) say(byId("paused"), `Paused since ${when(paused)}: nothing is started on any host.`);
  const free = /** @type {HTMLInputElement} */ (byId("free-too"));
  byId("pause").onclick = () => rest(() => pauseRuns(state, free.checked), "Paused", byId("resume"));
  byId("resume").onclick = () => rest(() => resumeRuns(state), "Resumed", byId("pause"));
}

/** @param {() => Promise<any>} ask @param {string} said @param {HTMLElement} focus the button that comes in place */
async function rest(ask, said, focus) {
  try {
    const done = await ask();
    const taken = done.takenBack ? `, ${counted(done.takenBack, "item")} taken back from the queue` : "";
    say(byId("said"), [`${said}${taken}.`, ...done.notes].join(" "));
    focus.hidden = false;
    focus.focus();
    wake.dispatchEvent(new Event("wake"));
  } catch (/** @type {any} */ error) {
    alarm(byId("away"), error);
  }
}

/** @param {any} state @param {number} left */
function standing(state, left) {
  if (state.working) return ["busy", "a burst is at work"];
  const setAside = state.setAside.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.items, 0);
  if (left && state.paused) return ["", "paused"];
  if (left) return left === setAside ? ["bad", "set aside"] : ["", "waiting"];
  if (state.counts.failed) return ["bad", `${state.counts.failed} failed`];
  return state.exists ? ["good", "all done"] : ["", "empty"];
}

/** @param {any} state */
function showCounts({ counts, secondsPerItem, secondsLeft }) {
  const names = Object.keys(STATUSES);
  const total = names.reduce((sum, name) => sum + counts[name], 0);
  const parts = names.filter((name) => counts[name]);
  const spans = parts.map((name) => {
    const span = make("span", { className: name });
    span.style.flexGrow = String(counts[name]);
    return span;
  });
  byId("bar").replaceChildren(...spans);
  byId("bar").setAttribute("aria-label", `${counts.completed} of ${total} done`);
  byId("counts").replaceChildren(
    ...Object.entries(STATUSES).map(([name, word]) =>
      make(
        "div",
        {},
        make("dt", {}, make("span", { className: `swatch ${name}` }), word),
        make("dd", {}, counts[name].toLocaleString()),
      ),
    ),
  );
  const pace = secondsPerItem ? `${paceOf(60 / secondsPerItem)} items a minute` : "No pace is known yet";
  say(byId("pace"), secondsLeft ? `${pace}, about ${duration(secondsLeft)} left` : pace);
}

/** @param {number} count a minute */
const paceOf = (count) => (count < 10 ? count.toFixed(1) : Math.round(count).toLocaleString());

/** @param {any} state */
function showSetAside({ setAside }) {
  byId("set-aside").hidden = !setAside.length;
  byId("set-aside-list").replaceChildren(
    ...setAside.map((/** @type {any} */ one) => unusable(one, { linked: true })),
  );
}

/** @param {any} state */
function showBursts({ bursts, limit }) {
  byId("limit").hidden = !limit;
  if (limit) {
    const seen = limit.kills === 1 ? "once" : `${limit.kills} times`;
    const ends = `runs now end by ${duration(limit.usableSeconds)}.`;
    say(byId("limit"), `Runs are killed here after about ${duration(limit.seconds)} (seen ${seen}); ${ends}`);
  }
  byId("no-bursts").hidden = bursts.length > 0;
  byId("bursts").hidden = byId("timeline").hidden = !bursts.length;
  const most = Math.max(1, ...bursts.map((/** @type {any} */ burst) => burst.completed ?? 0));
  byId("timeline").replaceChildren(
    ...bursts.map((/** @type {any} */ burst) => {
      const column = make("li", { className: burst.ended, title: `${when(burst.startedAt)}: ${burst.endedText}` });
      column.style.height = `${12 + 88 * ((burst.completed ?? 0) / most)}%`;
      return column;
    }),
  );
  byId("bursts").tBodies[0].replaceChildren(...bursts.toReversed().map(row));
}

/** @param {any} burst */
function row(burst) {
  const ended = make("span", { className: `badge ${LOOKS[/** @type {"done"} */ (burst.ended)] ?? ""}` }, burst.endedText);
  const took = burst.seconds === null ? "" : duration(burst.seconds);
  const cells = [when(burst.startedAt), ended, burst.completed ?? "–", burst.failed ?? "–", took, burst.reason ?? ""];
  return make("tr", {}, ...cells.map((cell) => make("td", {}, cell instanceof Node ? cell : String(cell))));
}

/** @param {any} state */
function showFailed({ state, failed, counts }) {
  byId("none-failed").hidden = failed.length > 0;
  byId("retry-all").hidden = failed.length < 2;
  byId("retry-all").onclick = () => again(state, [], byId("failed-title"));
  byId("more-failed").hidden = counts.failed <= FAILED_SHOWN;
  say(byId("more-failed"), `… and ${counts.failed - FAILED_SHOWN} more`);
  byId("failed").replaceChildren(
    ...failed.map((/** @type {any} */ item) => {
      const button = make("button", { type: "button", "aria-label": `Retry ${item.item}` }, "Retry");
      button.onclick = () => again(state, [item.item], byId("failed-title"));
      const name = make("p", {}, make("strong", {}, item.item));
      if (item.batchId) {
        name.append(" ", make("a", { href: `/?${new URLSearchParams({ batch: item.batchId })}` }, item.batchName ? `batch ${item.batchName}` : "its batch"));
      }
      const reason = make("p", { className: "bad" }, item.message);
      const prompt = make("p", { className: "soft small" }, item.prompt ?? "");
      return make("li", {}, make("div", {}, name, reason, prompt), button);
    }),
  );
}

/** @param {number} state @param {string[]} items @param {HTMLElement} focus where the focus goes: its button goes away */
async function again(state, items, focus) {
  try {
    const done = await retryItems(state, items);
    say(byId("said"), `${counted(done.items.length, "item")} due again`);
    focus.tabIndex = -1;
    focus.focus();
    wake.dispatchEvent(new Event("wake"));
  } catch (/** @type {any} */ error) {
    alarm(byId("away"), error);
  }
}

/** @param {any} one */
function server(one) {
  const badge = make("span", { className: `badge ${one.reachable ? "good" : "bad"}` }, one.reachable ? "answers" : "away");
  const about = one.reachable
    ? `${one.running} running, ${one.pending} waiting${one.version ? ` · ComfyUI ${one.version}` : ""}`
    : one.message;
  const called = /[:@]/.test(one.name) ? one.url : `${one.name} (${one.url})`;
  const devices = one.devices.map((/** @type {string} */ name) => make("p", { className: "soft small" }, name));
  return make("li", {}, make("div", {}, make("p", {}, make("code", {}, called)), make("p", {}, about), ...devices), badge);
}

/** @param {string} time */
const when = (time) => new Date(time).toLocaleString([], { dateStyle: "medium", timeStyle: "medium" });

const buttons = document.querySelectorAll("#choose button");
byId("choose").hidden = buttons.length < 2;
for (const button of buttons) {
  button.addEventListener("click", () => watch(Number(/** @type {HTMLElement} */ (button).dataset.state)));
}
onRetry(byId("away"), () => wake.dispatchEvent(new Event("wake")));
watch(0);
