/**
 * The queue as the server tells it: one connection for all tabs of a browser; where no worker can be shared, one of each
 * page that is seen; a call now and then where none can be had.
 */

import { queueEvents, queueNow } from "../api.js";

const EVERY_MILLISECONDS = 2_000;

/** @typedef {{heard: (queue: any) => void, away: (error: any) => void}} Hearer */

/** @type {Hearer[]} */
const hearers = [];
/** @type {EventSource | null} */
let source = null;
/** When the last queue came over the connection. */
let isLost = false;
let timer = 0;
/** The latest queue: nothing else of a page keeps one. @type {any} */
let latest = null;
const EMPTY = { rendering: [], next: [], nextTotal: 0, states: [] };

/** The queue as it was heard last; an empty one before that. @returns {any} */
export const queueKnown = () => latest ?? EMPTY;

/** Hear how the queue stands, now and whenever it changes. @param {Hearer} hearer */
export function hearQueue(hearer) {
  hearers.push(hearer);
  if (hearers.length > 1) {
    if (latest) hearer.heard(latest);
    return;
  }
  if (globalThis.SharedWorker) share();
  else {
    document.addEventListener("visibilitychange", connect);
    connect();
  }
}

/** Ask at once: what was done just now may be known before the next event comes. */
export async function askQueue() {
  try {
    tell(await queueNow());
  } catch (error) {
    for (const { away } of hearers) away(error);
  }
}

/** Hear from the connection that all tabs share. */
function share() {
  const { port } = new SharedWorker(new URL("shared_events.js", import.meta.url), { type: "module", name: "burst" });
  const say = () => port.postMessage(document.hidden ? "hidden" : "seen");
  port.addEventListener("message", ({ data }) => {
    isLost = data === "lost";
    if (isLost) ask();
    else tell(JSON.parse(data));
  });
  port.start();
  say();
  document.addEventListener("visibilitychange", say);
  addEventListener("pageshow", ({ persisted }) => persisted && say());
  addEventListener("pagehide", () => port.postMessage("bye"));
}

/** A page that nobody sees has no connection of its own: a browser has few of them for each server. */
function connect() {
  source?.close();
  source = null;
  clearTimeout(timer);
  if (document.hidden) return;
  source = queueEvents();
  source.addEventListener("queue", ({ data }) => tell(JSON.parse(data)));
  // It connects again by itself; until then, and where something between does not let it through, there are calls.
  source.addEventListener("error", () => {
    isLost = true;
    ask();
  });
  source.addEventListener("open", () => {
    isLost = false;
    clearTimeout(timer);
  });
}

async function ask() {
  clearTimeout(timer);
  if (document.hidden) return;
  await askQueue();
  clearTimeout(timer);
  if (isLost) timer = setTimeout(ask, EVERY_MILLISECONDS);
}

/** @param {any} queue */
function tell(queue) {
  latest = queue;
  for (const { heard } of hearers) heard(queue);
}
