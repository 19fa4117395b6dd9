/** All batches: what is under way first, the others below it by day, fetched a page at a time as they come into sight. */

import { alarm } from "../away.js";
import { Away, cancelBatch, deleteBatch, feedPage, restoreImages, retryItems } from "../api.js";
import { byId, make, notify, onRetry, say } from "../dom.js";
import { askQueue, hearQueue } from "../queue/events.js";
import { offerUndo } from "../undo.js";
import { listed } from "../viewer/viewer.js";
import { counted } from "../words.js";
import { arrange, BatchCard } from "./batch_card.js";
import { dayOf, liveOf } from "./batch_words.js";

/** How far below what is seen the next page is fetched. */
const MARGIN = "1200px";
/** Changes come in bunches. */
const PAUSE_MILLISECONDS = 700;

/** The list of the start page. */
export class Feed {
  constructor() {
    this.section = byId("feed");
    this.alert = byId("feed-alert");
    this.more = byId("feed-more");
    /** Every batch that is shown, by id. @type {Map<string, BatchCard>} */
    this.cards = new Map();
    /** @type {string[]} */
    this.active = [];
    /** What the next page comes after; undefined before the first, null where there is none. @type {string | null | undefined} */
    this.after = undefined;
    this.isOpen = false;
    /** Nobody answered when it was asked for last. */
    this.isStale = false;
    /** What the queue says that concerns batches: another one means to look. */
    this.seen = "";
    /** @type {any} */
    this.queue = null;
    this.timer = 0;
    /** @type {Promise<void> | null} */
    this.coming = null;
    /** @type {Map<string, HTMLElement>} */
    this.days = new Map();
    this.acts = {
      cancel: (/** @type {any} */ batch) => this.#act(() => cancelBatch(batch.batchId)),
      retry: (/** @type {any} */ batch) => this.#act(() => retryItems(batch.state, [batch.batchId])),
      remove: (/** @type {any} */ batch) => this.#remove(batch),
    };
    /** Called when it was laid out again, so that its images may be others. */
    this.changed = () => {};
    /** What the viewer goes through. */
    this.told = {
      items: () => this.#images(),
      more: () => this.#next(),
      gone: (/** @type {any} */ image, /** @type {any} */ done) => this.#gone(image, done),
      retried: () => this.refresh(),
      left: (/** @type {any} */ image) => this.#tile(image)?.focus(),
      failed: (/** @type {any} */ error) => this.#failed(error),
    };
    onRetry(this.alert, () => (this.after === undefined ? this.#next() : this.refresh()));
    this.more.addEventListener("click", () => this.#next());
    this.observer = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.#next(), { rootMargin: MARGIN });
    hearQueue({ heard: (queue) => this.#heard(queue), away: () => {} });
  }

  /** Show it as it is now. */
  async open() {
    this.section.hidden = false;
    this.isOpen = true;
    await (this.after === undefined ? this.#next() : this.refresh());
  }

  close() {
    this.section.hidden = true;
    this.isOpen = false;
    clearTimeout(this.timer);
  }

  /** Look at the first page again: what is under way, what ended, what is new. */
  async refresh() {
    try {
      this.#head(await feedPage(""));
      this.isStale = false;
      notify(this.alert, "");
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Fetch what comes next, once at a time. @returns {Promise<void>} */
  #next() {
    if (!this.isOpen || this.after === null) return Promise.resolve();
    this.coming ??= this.#fetch().finally(() => (this.coming = null));
    return this.coming;
  }

  async #fetch() {
    try {
      const page = await feedPage(this.after ?? "");
      if (this.after === undefined) this.#head(page);
      else for (const batch of page.batches) this.#put(batch);
      this.after = page.next;
      this.more.hidden = page.next === null;
      notify(this.alert, "");
      this.#lay();
      // An observer speaks when something changes, and once about what it begins with.
      this.observer.unobserve(this.more);
      this.observer.observe(this.more);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {any} page the first one */
  #head(page) {
    const before = this.active;
    this.active = page.active.map((/** @type {any} */ batch) => batch.batchId);
    const isThere = new Set([...this.active, ...page.batches.map((/** @type {any} */ batch) => batch.batchId)]);
    for (const [id, { batch }] of this.cards) if (!isThere.has(id) && batch.place > (page.next ?? "")) this.cards.delete(id);
    for (const batch of [...page.active, ...page.batches]) this.#put(batch);
    for (const id of before) if (!isThere.has(id) && this.cards.has(id)) this.#lookAgain(id);
    const waiting = page.activeTotal - page.active.length;
    byId("feed-waiting").hidden = waiting <= 0;
    say(byId("feed-waiting"), `${counted(waiting, "more batch").replace(/hs$/, "hes")} in the queue`);
    byId("feed-note").hidden = this.cards.size > 0 && !page.notes.length;
    say(byId("feed-note"), page.notes.join("\n") || (this.cards.size ? "" : "No images yet. Write a prompt, and they appear here."));
    this.#lay();
  }

  /** An old batch is not under way any more, and its place is not on the first page. @param {string} id */
  async #lookAgain(id) {
    const place = this.cards.get(id)?.batch.place;
    const isFetched = this.after === null || (this.after !== undefined && place > this.after);
    try {
      const found = isFetched ? (await feedPage(`${place}~`, 1)).batches[0] : null;
      if (found?.batchId === id) this.#put(found);
      else this.cards.delete(id);
      this.#lay();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {any} batch */
  #put(batch) {
    const known = this.cards.get(batch.batchId);
    if (known) known.show(batch);
    else this.cards.set(batch.batchId, new BatchCard(batch, this.acts));
  }

  /** Everything in its place. */
  #lay() {
    const active = this.active.map((id) => this.cards.get(id)).filter((card) => card !== undefined);
    byId("feed-now").hidden = !active.length;
    arrange(byId("feed-active"), active.map((card) => card.element));
    const isShown = new Set(active);
    const others = [...this.cards.values()].filter((card) => !isShown.has(card)).sort((one, other) => (one.batch.place > other.batch.place ? -1 : 1));
    /** @type {Map<string, BatchCard[]>} */
    const days = new Map();
    for (const card of others) {
      const day = new Date(card.batch.createdAt).toDateString();
      const cards = days.get(day);
      if (cards) cards.push(card);
      else days.set(day, [card]);
    }
    arrange(byId("feed-days"), [...days].map(([day, cards]) => this.#day(day, cards)));
    for (const card of active) this.#live(card);
    this.changed();
  }

  /** @param {string} day @param {BatchCard[]} cards */
  #day(day, cards) {
    let section = this.days.get(day);
    if (!section) {
      const id = `day-${this.days.size}`;
      section = make("section", { className: "feed-day" }, make("h3", { id }), make("ol", { className: "plain" }));
      section?.setAttribute("aria-labelledby", id);
      this.days.set(day, /** @type {HTMLElement} */ (section));
    }
    const [title, list] = /** @type {HTMLElement} */ (section).children;
    say(title, dayOf(new Date(day), new Date()));
    arrange(list, cards.map((card) => card.element));
    return /** @type {HTMLElement} */ (section);
  }

  /** @param {any} queue */
  #heard(queue) {
    this.queue = queue;
    if (queue.states.some((/** @type {any} */ one) => one.away)) return;
    const work = queue.next.map((/** @type {any} */ one) => [one.batchId, one.completed, one.failed, one.total, one.submitted > 0]);
    const seen = JSON.stringify([work, queue.states.map((/** @type {any} */ one) => [one.completed, one.failed])]);
    if (this.isOpen) for (const id of this.active) this.#live(this.cards.get(id));
    if (seen === this.seen && !this.isStale) return;
    const isKnown = !this.seen && !this.isStale && this.#hasAll(queue);
    this.seen = seen;
    if (isKnown || !this.isOpen) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#lookOnce(), PAUSE_MILLISECONDS);
  }

  /** Whether the page, as it came, has what the queue begins with. @param {any} queue */
  #hasAll(queue) {
    const work = queue.next.filter((/** @type {any} */ one) => one.batchId !== null);
    return this.after !== undefined && work.length === this.active.length && work.every((/** @type {any} */ one) => {
      const batch = this.cards.get(one.batchId)?.batch;
      return batch?.completedImages === one.completed && batch.failedImages === one.failed;
    });
  }

  /** After what is being fetched, which may be older. */
  async #lookOnce() {
    await this.coming;
    if (this.isOpen) await this.refresh();
  }

  /** @param {BatchCard | undefined} card */
  #live(card) {
    if (card && this.queue) card.hear(liveOf(card.batch, this.queue));
  }

  /** @param {() => Promise<any>} ask */
  async #act(ask) {
    try {
      await ask();
      notify(this.alert, "");
      await Promise.all([this.refresh(), askQueue()]);
    } catch (error) {
      this.#failed(error);
    }
  }

  /** @param {any} batch */
  async #remove(batch) {
    await this.#act(async () => {
      const done = await deleteBatch(batch.batchId);
      const next = this.cards.get(batch.batchId)?.element.nextElementSibling ?? byId("feed");
      this.cards.delete(batch.batchId);
      next.querySelector("a")?.focus();
      const kept = done.kept.length ? ` Files that were changed since stay: ${done.kept.join(", ")}` : "";
      offerUndo(`The batch is in the trash.${kept}`, () => this.#bringBack(done));
    });
  }

  /** @param {any} done what the API answered to a deletion @returns {Promise<string>} what is said then */
  async #bringBack(done) {
    const { restored, kept } = await restoreImages(done.state, done.trash);
    await this.refresh();
    return kept.length ? kept.join("; ") : `${counted(restored.length, "file")} brought back.`;
  }

  /** @returns {any[]} every image that is shown, in order */
  #images() {
    return [...this.section.querySelectorAll(".feed-batch")].flatMap((/** @type {any} */ element) => {
      const batch = this.cards.get(element.querySelector("[data-batch]").dataset.batch)?.batch;
      const about = { batchId: batch?.batchId, batchName: batch?.name, prompt: batch?.prompt, readOnly: batch?.readOnly };
      return (batch?.images ?? []).map((/** @type {any} */ image) => listed(about, image));
    });
  }

  /** @param {any} image @returns {HTMLElement | null} */
  #tile(image) {
    return this.section.querySelector(`[data-image="${image?.batchId}/${image?.image}"]`);
  }

  /** @param {any} image @param {any} done what the API answered to its deletion */
  #gone(image, done) {
    const card = this.cards.get(image.batchId);
    if (card) {
      const images = card.batch.images.filter((/** @type {any} */ one) => one.image !== image.image);
      card.show({ ...card.batch, images, pictures: card.batch.pictures - 1 });
    }
    offerUndo("The image is in the trash.", () => this.#bringBack(done));
  }

  /** @param {any} error */
  #failed(error) {
    this.isStale = error instanceof Away;
    alarm(this.alert, error);
  }
}
