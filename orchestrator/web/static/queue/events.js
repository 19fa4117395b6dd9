/** The queue as the server tells it: one connection while the page is seen, a call now and then where none can be had. */

import { queueNow } from "../api.js";

const EVERY_MILLISECONDS = 2_000;

/** @typedef {{heard: (queue: any) => void, away: () => void}} Hearer */

/** @type {Hearer[]} */
const hearers = [];
/** @type {EventSource | null} */
let source = null;
let timer = 0;

/** Hear how the queue stands, now and whenever it changes. @param {Hearer} hearer */
export function hearQueue(hearer) {
  hearers.push(hearer);
  if (hearers.length > 1) return;
  document.addEventListener("visibilitychange", connect);
  connect();
}

/** Ask at once: what was done just now may be known before the next event comes. */
export async function askQueue() {
  try {
    tell(await queueNow());
  } catch {
    for (const { away } of hearers) away();
  }
}

/** A page that nobody sees has no connection: a browser has few of them for each server. */
function connect() {
  source?.close();
  source = null;
  clearTimeout(timer);
  if (document.hidden) return;
  source = new EventSource("/api/events");
  source.addEventListener("queue", ({ data }) => tell(JSON.parse(data)));
  // It connects again by itself; until then, and where something between does not let it through, there are calls.
  source.addEventListener("error", () => ask());
  source.addEventListener("open", () => clearTimeout(timer));
}

async function ask() {
  clearTimeout(timer);
  if (document.hidden) return;
  if (source?.readyState === EventSource.CLOSED) source = null;
  await askQueue();
  if (source?.readyState !== EventSource.OPEN) timer = setTimeout(ask, EVERY_MILLISECONDS);
}

/** @param {any} queue */
function tell(queue) {
  for (const { heard } of hearers) heard(queue);
}
