/** How a batch stands, in a word or a few. Pure. */

import { counted } from "../words.js";

/**
 * What is known of a batch that is under way.
 * @typedef {object} Live
 * @property {any[]} running what servers render of it, as the queue has it
 * @property {number} behind how many images are rendered before any of it
 * @property {string} message why nothing goes on, where nothing does
 * @property {boolean} isPaused
 */

/** @type {Live} */
export const NOTHING = { running: [], behind: 0, message: "", isPaused: false };

/**
 * What the queue knows of a batch.
 * @param {any} batch of the feed
 * @param {any} queue
 * @returns {Live}
 */
export function liveOf(batch, queue) {
  const state = queue.states.find((/** @type {any} */ one) => one.state === batch.state);
  if (!state) return NOTHING;
  const running = queue.rendering.filter((/** @type {any} */ one) => one.batchId === batch.batchId);
  const own = queue.next.filter((/** @type {any} */ one) => one.state === batch.state);
  const at = own.findIndex((/** @type {any} */ one) => one.batchId === batch.batchId);
  const before = own.slice(0, Math.max(0, at)).reduce((/** @type {number} */ total, /** @type {any} */ one) => total + one.pending + one.submitted, 0);
  const message = running.length ? "" : (state.message ?? "");
  return { running, behind: running.length ? 0 : before + state.ahead, message, isPaused: Boolean(state.paused) };
}

/** Whether anything of it remains. @param {any} batch */
export const isActive = ({ status }) => status === "queued" || status === "generating";

/** `Rendering 3 of 12`, `2 failed`, `Done`. @param {any} batch @param {Live} live @returns {string} */
export function wordFor(batch, { running, behind, message, isPaused }) {
  const { failedImages: failed, completedImages: completed, totalImages: total, status } = batch;
  if (!isActive(batch)) {
    if (status === "cancelled") return failed ? `Cancelled, ${failed} failed` : "Cancelled";
    if (failed) return failed === total ? "Failed" : `${failed} failed`;
    return "Done";
  }
  const also = failed ? `, ${failed} failed` : "";
  if (running.length) return `Rendering ${Math.min(total, completed + failed + 1)} of ${total}${also}`;
  if (isPaused) return `Paused${also}`;
  if (message && completed + failed) return `Waiting, ${completed} of ${total}${also}`;
  if (behind) return `Queued behind ${counted(behind, "image")}${also}`;
  return completed + failed ? `Queued, ${completed} of ${total}${also}` : "Queued";
}

/** How its badge looks. @param {any} batch */
export function lookFor(batch) {
  if (isActive(batch)) return "busy";
  if (batch.failedImages) return "bad";
  return batch.status === "complete" ? "good" : "";
}

/** What a server does with an image: `KSampler 12/20`. @param {any} running of the queue or of a batch's progress */
export function stepOf(running) {
  if (running.loads) return "Loading model…";
  if (running.node === null) return "Rendering…";
  return running.steps > 1 ? `${running.node} ${running.step ?? 0}/${running.steps}` : running.node;
}

const DAY = new Intl.DateTimeFormat(undefined, { weekday: "long", day: "numeric", month: "long" });
const DAY_AND_YEAR = new Intl.DateTimeFormat(undefined, { day: "numeric", month: "long", year: "numeric" });

/**
 * `Today`, `Yesterday`, `Thursday, November 26`.
 * @param {Date} moment
 * @param {Date} now
 */
export function dayOf(moment, now) {
  const midnight = (/** @type {Date} */ one) => new Date(one.getFullYear(), one.getMonth(), one.getDate()).getTime();
  const days = Math.round((midnight(now) - midnight(moment)) / 86_400_000);
  if (days === 0) return "Today";
  if (days === 1) return "Yesterday";
  return moment.getFullYear() === now.getFullYear() ? DAY.format(moment) : DAY_AND_YEAR.format(moment);
}
