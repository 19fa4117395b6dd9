/** How a batch gets on: where it is, what is there, how long it will take. */

import { byId, say } from "../dom.js";
import { Shots } from "./shots.js";
import { beyond, titleOfUnusable, unusable } from "../unusable.js";
import { counted, duration, failedCount, perPrompt } from "../words.js";

/** The card that is shown while a batch is not done. */
export class ProgressCard {
  /** @param {() => void} cancel */
  constructor(cancel) {
    this.card = byId("progress");
    this.button = byId("cancel");
    this.shots = new Shots(byId("shots"), byId("shots-scroller"));
    /** The recipes set aside that are shown, as JSON: what is the same is not read out again. */
    this.waitsFor = "[]";
    this.button.addEventListener("click", cancel);
  }

  /** Before anything is known but what the API answered to the form. @param {any} started */
  begin(started) {
    this.shots.clear();
    this.cancelling(false);
    say(byId("where"), "");
    say(byId("message"), "");
    byId("message").hidden = true;
    this.#setAside([]);
    say(byId("time-left"), "");
    if (started) this.#begun(started.queuedImages, started.estimateKnown === false ? null : started.estimatedTime);
  }

  /** @param {any} answer of the progress call */
  show(answer) {
    const { progress, images } = answer;
    const failed = failedCount(answer);
    const done = progress.completedImages + failed;
    say(byId("where"), where(answer, done, failed));
    this.#bar(done, progress.totalImages);
    say(byId("time-left"), answer.isWaiting ? "" : timeLeft(answer.estimatedSecondsRemaining));
    const message = beyond(answer.message, answer.setAside);
    byId("message").hidden = !message;
    byId("message").classList.toggle("error", answer.isWaiting);
    say(byId("message"), message);
    this.#setAside(answer.setAside);
    const own = images.map((/** @type {any} */ image) => ({ ...image, batchId: progress.batchId }));
    this.shots.show(own, answer.running, answer.isWaiting);
  }

  /** @param {boolean} cancelling */
  cancelling(cancelling) {
    this.button.disabled = cancelling;
    say(this.button, cancelling ? "Cancelling…" : "Cancel");
  }

  /** @param {number} count @param {number | null} seconds */
  #begun(count, seconds) {
    say(byId("where"), `Queued: ${count} images`);
    this.#bar(0, count);
    say(byId("time-left"), timeLeft(seconds));
  }

  /** @param {any[]} recipes that its items wait for */
  #setAside(recipes) {
    const seen = JSON.stringify(recipes);
    if (seen === this.waitsFor) return;
    this.waitsFor = seen;
    byId("set-aside").hidden = !recipes.length;
    say(byId("set-aside-title"), titleOfUnusable(recipes));
    byId("set-aside-list").replaceChildren(...recipes.map((one) => unusable(one, { linked: false })));
  }

  /** @param {number} done @param {number} total */
  #bar(done, total) {
    const bar = byId("bar");
    bar.max = Math.max(total, 1);
    bar.value = done;
    bar.setAttribute("aria-valuetext", `${done} of ${total} finished`);
  }
}

/** @param {any} answer of the progress call @param {number} done @param {number} failedSoFar */
function where(answer, done, failedSoFar) {
  const { progress, queuedBehind, isWaiting } = answer;
  const [total, each] = [progress.totalImages, perPrompt(answer)];
  const failed = failedSoFar ? `, ${failedSoFar * each} failed` : "";
  if (isWaiting) return `${done * each} of ${counted(total * each, "image")} finished${failed}`;
  if (queuedBehind) return `Queued behind ${counted(queuedBehind, "image")}${failed}`;
  const queued = done || progress.currentImage !== null ? "" : "Queued: ";
  const current = progress.currentImage ?? Math.min(done + 1, total);
  const images = each > 1 ? `Images ${(current - 1) * each + 1}–${current * each}` : `Image ${current}`;
  return `${queued}${images} of ${total * each}${failed}`;
}

/** @param {number | null} seconds */
function timeLeft(seconds) {
  return seconds === null ? "Time left: not known yet" : `About ${duration(seconds)} left`;
}
