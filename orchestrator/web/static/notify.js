/** A notification of the system when a batch has ended, for whoever wants one and looks at something else. */

import { progressOf } from "./api.js";
import { choose, isChosen } from "./kept.js";
import { hearQueue } from "./queue/events.js";
import { summary } from "./words.js";

const NAME = "notify";
const PATIENCE_MILLISECONDS = 15_000;
const WANTED = "Notify me at the end";

/** Batches that were under way. @type {Set<string>} */
let before = new Set();

/** Pages without https have no notifications at all. */
const isWanted = () => "Notification" in globalThis && isChosen(NAME) && Notification.permission === "granted";

/** @returns {any[]} */
const buttons = () => [...document.querySelectorAll("[data-notify]")];

function show() {
  for (const button of buttons()) {
    button.hidden = !("Notification" in globalThis) || !isSecureContext;
    button.ariaPressed = String(isWanted());
    if (button.textContent !== WANTED) button.textContent = WANTED;
  }
}

/** The browser asks the user, and only after this click. @param {Event} event */
async function toggle(event) {
  const wanted = !isWanted();
  if (wanted && Notification.permission !== "granted") await Notification.requestPermission();
  choose(NAME, wanted);
  show();
  const isRefused = wanted && Notification.permission !== "granted";
  if (isRefused) /** @type {HTMLElement} */ (event.currentTarget).textContent = "The browser does not allow notifications of this page";
}

/** @param {any} queue */
function heard(queue) {
  const now = new Set(queue.next.map((/** @type {any} */ one) => one.batchId).filter(Boolean));
  const ended = [...before].filter((id) => !now.has(id));
  before = now;
  if (document.hidden && isWanted()) for (const id of ended) once(id, () => notify(id));
}

/** In one tab of several. @param {string} id @param {() => Promise<void>} act */
function once(id, act) {
  navigator.locks.request(`notify-${id}`, { ifAvailable: true }, async (lock) => {
    if (!lock) return;
    await act();
    // Another tab hears of it a little later.
    await new Promise((done) => setTimeout(done, 2_000));
  });
}

/** @param {string} batchId */
async function notify(batchId) {
  const answer = await progressOf(batchId, AbortSignal.timeout(PATIENCE_MILLISECONDS)).catch(() => null);
  if (!answer || ["queued", "generating"].includes(answer.progress.status)) return;
  const icon = answer.thumbnails[0];
  const shown = new Notification(summary(answer), { body: answer.name ?? answer.title, tag: batchId, ...(icon ? { icon } : {}) });
  shown.addEventListener("click", () => {
    window.focus();
    location.assign(`/?${new URLSearchParams({ batch: batchId })}`);
  });
}

for (const button of buttons()) button.addEventListener("click", toggle);
show();
hearQueue({ heard, away: () => {} });
