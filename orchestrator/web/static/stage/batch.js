/** One batch: its progress while it is made, its images once it has ended. */

import { batchPart, cancelBatch, progressOf, regenerate, restoreImages, retryBatch } from "../api.js";
import { alarm } from "../away.js";
import { AT_ONCE, Comparison } from "./compare.js";
import { byId, make, notify, onRetry, say } from "../dom.js";
import { changed, hearImages } from "../image_changes.js";
import { Parts } from "./parts.js";
import { poll } from "../polling.js";
import { ProgressCard } from "./progress.js";
import { nameTab } from "../tab.js";
import { offerUndo } from "../undo.js";
import { addressIn, allOf, listed } from "../viewer/viewer.js";
import { counted, failedCount, parametersLine, summary } from "../words.js";

const ENDED = ["complete", "failed", "cancelled"];

/** The part of the page about one batch. `started(answer, prompt)` is called when it was made again. */
export class BatchView {
  /** @param {(answer: any, prompt: string) => void} started @param {import("../viewer/viewer.js").Viewer} viewer */
  constructor(started, viewer) {
    this.article = byId("batch");
    this.alert = byId("batch-alert");
    this.card = new ProgressCard(() => this.#cancel());
    this.comparison = new Comparison((error, retry) => this.#alarmOnce(error, retry));
    this.started = started;
    /** As the last answer has the batch. @type {any} */
    this.answer = null;
    this.viewer = viewer;
    /** What the viewer goes through. */
    this.told = {
      items: () => this.#viewed(),
      more: () => this.comparison.fetchMore(),
      retried: () => this.open(this.batchId, {}),
      gone: (/** @type {any} */ _image, /** @type {any} */ done) => this.#gone(done),
      left: (/** @type {any} */ image) => this.#linkOf(image)?.focus(),
      failed: (/** @type {any} */ error) => this.#alarmOnce(error, () => this.viewer.place.arrive()),
    };
    this.wake = new EventTarget();
    this.closing = new AbortController();
    this.batchId = "";
    /** Whether the alert is about the last question. */
    this.unheard = false;
    /** What a press of Retry does. */
    this.retry = () => {};
    onRetry(this.alert, () => this.retry());
    byId("regenerate").addEventListener("click", () => this.#regenerate());
    byId("try-again").addEventListener("click", () => this.#tryAgain());
    hearImages((change, isElsewhere) => this.#changed(change, isElsewhere));
  }

  /**
   * Show this batch and follow it to its end.
   * @param {string} batchId
   * @param {{started?: any, prompt?: string}} known of a batch that was begun just now
   */
  open(batchId, { started, prompt }) {
    this.close();
    this.closing = new AbortController();
    this.batchId = batchId;
    this.answer = null;
    this.article.hidden = false;
    say(byId("batch-title"), prompt ?? "");
    say(byId("batch-parameters"), "");
    name(null);
    this.card.begin(started);
    byId("progress").hidden = !started;
    // The button that had the focus may be gone, with the form or with what there was of another batch.
    if (started && !document.activeElement?.closest("#batch-form")?.checkVisibility()) byId("batch-title").focus();
    this.#follow();
  }

  close() {
    this.closing.abort();
    this.article.hidden = true;
    this.comparison.hide();
    notify(this.alert, "");
    for (const id of ["progress", "failure", "partial", "after"]) byId(id).hidden = true;
  }

  async #follow() {
    const { signal } = this.closing;
    try {
      await poll(() => progressOf(this.batchId, signal), {
        heard: (answer) => this.#heard(answer),
        away: (error) => {
          this.unheard = true;
          this.#alarm(error, () => this.wake.dispatchEvent(new Event("wake")));
        },
        signal,
        wake: this.wake,
      });
    } catch (error) {
      if (!signal.aborted) this.#stopped(error);
    }
  }

  /** @param {any} answer @returns {boolean} whether there is nothing more to hear */
  #heard(answer) {
    const { progress } = answer;
    const isFirst = !this.answer;
    this.answer = answer;
    // What went wrong with something else, such as a cancel, stays said.
    if (this.unheard) notify(this.alert, "");
    this.unheard = false;
    say(byId("batch-title"), answer.title);
    name(answer.name);
    say(byId("batch-parameters"), parametersLine(answer.parameters, answer.effectiveParameters));
    byId("batch-grid").hidden = !answer.axes?.length;
    byId("batch-grid").href = `/grid?${new URLSearchParams({ batch: this.batchId })}`;
    const ended = ENDED.includes(progress.status);
    const count = { done: progress.completedImages + failedCount(answer), total: progress.totalImages };
    nameTab(`${(answer.name ?? answer.title).slice(0, 60)} · Burst`, ended ? null : count);
    if (ended) this.#ended(answer);
    else {
      byId("progress").hidden = false;
      this.card.show(answer);
    }
    if (isFirst) this.viewer.place.arrive();
    this.viewer.refresh();
    return ended;
  }

  /** @param {any} image @returns {HTMLElement | null} */
  #linkOf(image) {
    return this.article.querySelector(`[data-image="${image?.batchId}/${image?.image}"]`);
  }

  /** What the viewer goes through: what is there, and what failed. @returns {import("../viewer/viewer.js").Some} */
  #viewed() {
    if (!this.answer) return allOf([]);
    const isLarge = this.answer.firstImage !== undefined && this.comparison.images.length;
    const images = isLarge ? this.comparison.images : this.answer.images;
    const batch = { batchId: this.answer.progress.batchId, batchName: this.answer.name, prompt: this.answer.prompt };
    /** @param {any} one */
    const isSeen = (one) => one.url || one.status === "failed" || one.image === this.viewer.image?.image;
    return allOf(images.filter(isSeen).map((/** @type {any} */ one) => listed(batch, one)));
  }

  /** @param {import("../image_changes.js").Change} change @param {boolean} isElsewhere */
  #changed(change, isElsewhere) {
    if (this.article.hidden || !this.answer) return;
    const id = this.answer.progress.batchId;
    this.answer = { ...this.answer, images: changed(this.answer.images, change, id) };
    this.comparison.changed(change);
    if (change.again && isElsewhere && ENDED.includes(this.answer.progress.status)) this.open(this.batchId, {});
  }

  /** @param {any} done what the API answered to a deletion */
  #gone(done) {
    offerUndo("The image is in the trash.", async () => {
      const { restored, kept } = await restoreImages(done.state, done.trash);
      this.open(this.batchId, {});
      return kept.length ? kept.join("; ") : `${counted(restored.length, "file")} restored.`;
    });
  }

  /** @param {any} answer */
  #ended(answer) {
    const { progress, images, firstImage } = answer;
    const hadFocus = byId("progress").contains(document.activeElement);
    byId("progress").hidden = true;
    byId("after").hidden = false;
    say(byId("summary"), summary(answer));
    byId("regenerate").hidden = !answer.isRepeatable;
    byId("try-again").hidden = !leftOf(answer);
    if (hadFocus) byId("summary").focus();
    say(byId("partial").querySelector("summary"), `${counted(failedCount(answer), "image")} failed`);
    if (firstImage !== undefined) {
      this.#outcomeOfLarge(answer);
      return;
    }
    const failures = images.filter((/** @type {any} */ image) => image.status === "failed");
    const made = images.filter((/** @type {any} */ image) => image.url);
    this.#outcome(progress, failures, made);
  }

  /**
   * @param {any} progress
   * @param {any[]} failures
   * @param {any[]} made
   * @param {Parts} [parts] where those that are not in `made` are
   */
  #outcome(progress, failures, made, parts) {
    if (progress.status === "failed") tell("failure", failures, this.batchId);
    else if (failures.length) tell("partial", failures, this.batchId);
    if (made.length) this.comparison.show(this.batchId, made, parts);
  }

  /** Of a large batch only the first failures and images are fetched. @param {any} answer */
  async #outcomeOfLarge(answer) {
    const { signal } = this.closing;
    const parts = new Parts(this.batchId, AT_ONCE, signal);
    try {
      const failed = failedCount(answer) ? await batchPart(this.batchId, { status: "failed" }, signal) : { images: [] };
      this.#outcome(answer.progress, failed.images, await parts.fetch(), parts);
    } catch (error) {
      if (!signal.aborted) this.#alarmOnce(error, () => this.#outcomeOfLarge(answer));
    }
  }

  /** @param {any} error after which asking again is of no use */
  #stopped(error) {
    this.unheard = true;
    byId("progress").hidden = true;
    say(byId("batch-title"), byId("batch-title").textContent || "Batch");
    this.#alarm(error, () => this.#follow());
  }

  /** @param {any} error @param {() => void} retry */
  #alarm(error, retry) {
    this.retry = retry;
    alarm(this.alert, error);
  }

  /** The same for what is not asked again by itself: the notice goes with the press of Retry. */
  #alarmOnce(/** @type {any} */ error, /** @type {() => void} */ retry) {
    this.#alarm(error, () => {
      notify(this.alert, "");
      retry();
    });
  }

  async #cancel() {
    this.card.cancelling(true);
    try {
      await cancelBatch(this.batchId);
      notify(this.alert, "");
      this.wake.dispatchEvent(new Event("wake"));
    } catch (/** @type {any} */ error) {
      this.card.cancelling(false);
      this.#alarm(error, () => this.#cancel());
    }
  }

  /** What failed or was cancelled; what is there stays. */
  async #tryAgain() {
    const button = byId("try-again");
    button.disabled = true;
    try {
      const { items, notes } = await retryBatch(this.batchId);
      if (items.length) this.open(this.batchId, {});
      else this.#alarmOnce(new Error(notes.join("; ") || "Nothing is left to do"), () => this.#tryAgain());
    } catch (/** @type {any} */ error) {
      this.#alarmOnce(error, () => this.#tryAgain());
    } finally {
      button.disabled = false;
    }
  }

  async #regenerate() {
    const button = byId("regenerate");
    button.disabled = true;
    try {
      const prompt = byId("batch-title").textContent;
      this.started(await regenerate(this.batchId), prompt);
    } catch (/** @type {any} */ error) {
      this.#alarm(error, () => this.#regenerate());
    } finally {
      button.disabled = false;
    }
  }
}

/** How many prompts ended without their images. @param {any} answer of the progress call */
const leftOf = ({ progress }) => progress.totalImages - progress.completedImages;

/** Show what the batch is called, if it was given a name. @param {string | null} name */
function name(name) {
  byId("batch-name").hidden = !name;
  say(byId("batch-name"), name ? `Batch ${name}` : "");
}

/**
 * Show why images failed.
 * @param {string} id of the section
 * @param {any[]} failures
 * @param {string} batchId
 */
function tell(id, failures, batchId) {
  const rows = failures.map((image) => {
    const link = make("a", { href: addressIn(batchId, image), "data-image": `${batchId}/${image.image}` }, `Image ${image.number}`);
    return make("li", {}, link, `: ${image.error ?? "no reason is recorded"}`);
  });
  byId(`${id}-details`).replaceChildren(...rows);
  byId(id).hidden = false;
}
