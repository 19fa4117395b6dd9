/** How a batch gets on: where it is, what is there, how long it will take. */

import { byId, say } from "./dom.js";
import { Shots } from "./shots.js";
import { duration } from "./words.js";

/** The card that is shown while a batch is not done. */
export class ProgressCard {
  /** @param {() => void} cancel */
  constructor(cancel) {
    this.card = byId("progress");
    this.button = byId("cancel");
    this.shots = new Shots(byId("shots"), byId("shots-scroller"));
    this.button.addEventListener("click", cancel);
  }

  /** Before anything is known but what the API answered to the form. @param {any} started */
  begin(started) {
    this.shots.clear();
    this.cancelling(false);
    say(byId("where"), "");
    say(byId("message"), "");
    say(byId("time-left"), "");
    if (started) this.#begun(started.queuedImages, started.estimateKnown === false ? null : started.estimatedTime);
  }

  /** @param {any} answer of the progress call */
  show(answer) {
    const { progress, images } = answer;
    const done = progress.completedImages + progress.failedImages.length;
    say(byId("where"), where(progress, done));
    this.#bar(done, progress.totalImages);
    say(byId("time-left"), timeLeft(answer.estimatedSecondsRemaining));
    byId("message").hidden = !answer.message;
    say(byId("message"), answer.message ?? "");
    this.shots.show(images, progress.currentImage);
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

  /** @param {number} done @param {number} total */
  #bar(done, total) {
    const bar = byId("bar");
    bar.max = Math.max(total, 1);
    bar.value = done;
    bar.setAttribute("aria-valuetext", `${done} of ${total} finished`);
  }
}

/** @param {any} progress @param {number} done */
function where(progress, done) {
  const current = progress.currentImage ?? Math.min(done + 1, progress.totalImages);
  const failed = progress.failedImages.length ? `, ${progress.failedImages.length} failed` : "";
  const queued = progress.status === "queued" ? "Queued: " : "";
  return `${queued}Image ${current} of ${progress.totalImages}${failed}`;
}

/** @param {number | null} seconds */
function timeLeft(seconds) {
  return seconds === null ? "Time left: not known yet" : `About ${duration(seconds)} left`;
}
