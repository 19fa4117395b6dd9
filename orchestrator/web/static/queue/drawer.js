/** The drawer that every page has: what is rendered, what comes next, the servers, and the log of the last run. */

import { byId, make, say } from "../dom.js";
import { cancelBatch, moveBatch, pauseRuns, resumeRuns, retryItems, runLog, serversOf } from "../api.js";
import { bytes, counted, duration } from "../words.js";
import { askQueue, hearQueue, queueKnown } from "./events.js";

const SERVERS_EVERY_MILLISECONDS = 4_000;
const PRIORITIES = ["urgent", "high", "normal", "low"];

const drawer = byId("queue");
/** What is shown, as JSON, by the part of the drawer. @type {Map<string, string>} */
const shown = new Map();
let isOpen = false;

hearQueue({ heard: show, away: () => {} });
drawer.addEventListener("toggle", (/** @type {any} */ event) => {
  isOpen = event.newState === "open";
  byId("queue-open").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) {
    show(queueKnown());
    watchServers();
  }
});
byId("queue-log").addEventListener("toggle", showLog);
setInterval(() => isOpen && tick(), 1_000);

/** @param {any} now */
function show(now) {
  const remaining = sum(now.states, "remaining");
  say(byId("queue-count"), remaining ? remaining.toLocaleString() : "");
  byId("queue-open").setAttribute("aria-label", remaining ? `Queue, ${counted(remaining, "item")} remaining` : "Queue");
  if (!isOpen) return;
  say(byId("queue-standing"), standing(now, remaining));
  part("queue-rendering", now.rendering, rendering);
  part("queue-next", now.next, waiting);
  part("queue-states", now.states.filter(hasSomething), state);
  const more = now.nextTotal - now.next.length;
  byId("queue-more").hidden = more <= 0;
  say(byId("queue-more"), `… and ${more} more`);
  byId("queue-rendering-title").hidden = !now.rendering.length;
  byId("queue-next-title").hidden = !now.next.length;
}

/** Rebuild a list where it has changed; the focus stays. @param {string} id @param {any[]} all @param {(one: any) => HTMLElement} make_ */
function part(id, all, make_) {
  const looks = JSON.stringify(all);
  if (shown.get(id) === looks) return;
  shown.set(id, looks);
  const focus = document.activeElement?.id;
  byId(id).replaceChildren(...all.map(make_));
  if (focus && document.activeElement?.id !== focus) document.getElementById(focus)?.focus();
}

/** @param {any} now @param {number} remaining */
function standing(now, remaining) {
  if (!remaining) return "Nothing is queued.";
  const seconds = now.states.map((/** @type {any} */ one) => one.secondsLeft);
  const known = seconds.filter((/** @type {any} */ one) => one !== null);
  const left = known.length === seconds.length ? Math.max(...known) : null;
  return `${counted(remaining, "item")} remaining${left ? `, about ${duration(left)}` : ""}`;
}

/** @param {any} one */
function rendering(one) {
  const picture = make("span", { className: "queue-picture" });
  if (one.preview) picture.append(make("img", { src: one.preview, alt: "" }));
  const time = make("span", { className: "soft small", "data-since": one.since }, since(one.since));
  const bar = make("progress", { max: one.steps ?? 1, "aria-label": `Steps of ${nameOf(one)}` });
  if (one.steps) bar.value = one.step ?? 0;
  const text = make("div", {}, named(one), make("p", { className: "small" }, doing(one), " · ", time), ...(one.steps ? [bar] : []));
  return make("li", {}, picture, text);
}

/** `KSampler 12/20 on gpu1`. @param {any} one */
function doing({ node, loads, step, steps, server }) {
  const what = loads ? "Loading model…" : (node ?? "Rendering…");
  return `${what}${steps > 1 && !loads ? ` ${step}/${steps}` : ""} on ${host(server)}`;
}

/** @param {any} one */
function waiting(one) {
  const left = one.pending + one.submitted;
  const failed = one.failed ? `, ${one.failed} failed` : "";
  const line = `${left} of ${one.total} left${failed}${one.submitted ? ` · ${one.submitted} on a server` : ""}`;
  const entry = make("li", {}, make("div", {}, named(one), make("p", { className: "soft small" }, line)));
  if (one.batchId === null) return entry;
  const place = make(
    "select",
    { id: `place-${one.batchId}`, "aria-label": `Priority of ${nameOf(one)}` },
    ...PRIORITIES.map((name) => make("option", { value: name, selected: name === (one.priority ?? "normal") }, name)),
  );
  place.addEventListener("change", () => act(() => moveBatch(one.batchId, place.value), `${nameOf(one)}: ${place.value}`));
  const first = button(`first-${one.batchId}`, "Move to front", () => moveBatch(one.batchId, "first"), `${nameOf(one)} is next`, one);
  const stop = button(`stop-${one.batchId}`, "Cancel", () => cancelBatch(one.batchId), `${nameOf(one)} is cancelled`, one);
  entry.append(make("div", { className: "row" }, first, place, stop));
  return entry;
}

/** Something to say of it, or to do with it. @param {any} one */
const hasSomething = (one) => one.remaining || one.failed || one.paused || one.message;

/** @param {any} one */
function state(one) {
  const name = queueKnown().states.length > 1 ? [make("p", {}, make("code", {}, one.path))] : [];
  const lines = [one.paused && `Paused since ${new Date(one.paused).toLocaleTimeString()}`, one.message].filter(Boolean);
  if (one.freeBytes !== null) lines.push(`${bytes(one.freeBytes)} left on the disk`);
  const buttons = [];
  const id = `state-${one.state}`;
  if (one.paused) buttons.push(button(`${id}-resume`, "Resume", () => resumeRuns(one.state), "Resumed", one));
  else if (one.remaining) buttons.push(button(`${id}-pause`, "Pause", () => pauseRuns(one.state, false), "Paused", one));
  if (one.failed) {
    const retry = `Retry ${one.failed} failed`;
    buttons.push(button(`${id}-retry`, retry, () => retryItems(one.state, []), "Failed items are due again", one));
  }
  const text = lines.map((line) => make("p", { className: "small" }, String(line)));
  return make("li", {}, make("div", {}, ...name, ...text), make("div", { className: "row" }, ...buttons));
}

/** @param {string} id @param {string} text @param {() => Promise<any>} ask @param {string} done @param {any} one */
function button(id, text, ask, done, one) {
  const made = make("button", { id, type: "button" }, text);
  if (one.batchId) made.setAttribute("aria-label", `${text}: ${nameOf(one)}`);
  made.addEventListener("click", async () => {
    made.disabled = true;
    await act(ask, done);
    made.disabled = false;
  });
  return made;
}

/** @param {() => Promise<any>} ask @param {string} done */
async function act(ask, done) {
  try {
    const answer = await ask();
    say(byId("queue-said"), [`${done}.`, ...(answer.notes ?? [])].join(" "));
  } catch (/** @type {any} */ error) {
    say(byId("queue-said"), error.message);
  }
  shown.clear();
  await askQueue();
}

async function watchServers() {
  while (isOpen) {
    try {
      const asked = queueKnown().states.map((/** @type {any} */ one) => serversOf(one.state, AbortSignal.timeout(15_000)));
      const all = (await Promise.all(asked)).flat();
      const servers = [...new Map(all.map((one) => [one.url, one])).values()];
      part("queue-servers", servers, server);
    } catch {
      // Said by the queue itself.
    }
    await new Promise((done) => setTimeout(done, SERVERS_EVERY_MILLISECONDS));
  }
}

/** @param {any} one */
function server(one) {
  const busy = one.running + one.pending > 0;
  const look = one.reachable ? (busy ? "busy" : "good") : "bad";
  const badge = make("span", { className: `badge ${look}` }, one.reachable ? (busy ? "busy" : "online") : "away");
  const about = one.reachable ? `${one.running} running, ${one.pending} waiting` : one.message;
  const lines = [about, ...one.devices].map((text) => make("p", { className: "soft small" }, text));
  return make("li", { className: "row apart" }, make("div", {}, make("p", {}, host(one.name)), ...lines), badge);
}

async function showLog() {
  if (!byId("queue-log").open) return;
  const logs = await Promise.all(queueKnown().states.map((/** @type {any} */ one) => runLog(one.state).catch(() => ({ lines: [] }))));
  const lines = logs.flatMap((log) => log.lines);
  say(byId("queue-log-text"), lines.join("\n") || "No run was started from here yet.");
}

function tick() {
  for (const time of byId("queue-rendering").querySelectorAll("[data-since]")) say(time, since(time.dataset.since));
}

/** @param {string} time */
const since = (time) => duration(Math.max(0, (Date.now() - Date.parse(time)) / 1000));

/** @param {any} one */
function named(one) {
  const text = nameOf(one);
  const what = one.batchId ? make("a", { href: `/?${new URLSearchParams({ batch: one.batchId })}` }, text) : text;
  return make("p", { className: "queue-name" }, what);
}

/** @param {any} one of what is rendered, or waits */
function nameOf(one) {
  const image = one.number ? `Image ${one.number} · ` : "";
  if (one.batchId) return `${image}${one.batchName ?? one.name ?? one.prompt ?? one.batchId}`;
  return one.item ?? "Items without a batch";
}

/** Without what only says on which host a loopback address is. @param {string} name */
const host = (name) => name.split("@")[0].replace(/^https?:\/\//, "");

/** @param {any[]} all @param {string} field */
const sum = (all, field) => all.reduce((total, one) => total + one[field], 0);
