/** All batches: what is under way first, the others below it by day, fetched a page at a time as they come into sight. */

import { alarm } from "../away.js";
import { Away, cancelBatch, deleteBatch, feedPage, parsed, restoreImages, retryBatch, retryItems } from "../api.js";
import { byId, notify, onRetry, say } from "../dom.js";
import { changed, hearImages } from "../image_changes.js";
import { askQueue, hearQueue, queueKnown } from "../queue/events.js";
import { offerUndo } from "../undo.js";
import { counted } from "../words.js";
import { arrange } from "./batch_card.js";
import { liveOf } from "./batch_words.js";
import { Days } from "./days.js";
import { imagesAround, known } from "./feed_images.js";
import { Folding, Place } from "./folding.js";

/** How far below what is seen the next page is fetched. */
const MARGIN = "1200px";
/** Changes come in bunches. */
const PAUSE_MILLISECONDS = 700;
/** Whoever scrolls fast wants nothing of what flies past. */
const FLYING_MILLISECONDS = 60;
/** Batches that one call is asked for again. */
const AGAIN = 24;

/** The list of the start page. */
export class Feed {
  constructor() {
    this.section = byId("feed");
    this.alert = byId("feed-alert");
    this.more = byId("feed-more");
    /** Every batch that is shown, by id. @type {Map<string, Place>} */
    this.places = new Map();
    /** The same, as they follow each other; empty while that is to be found out. @type {Place[]} */
    this.order = [];
    this.folding = new Folding(() => this.#want());
    this.flying = 0;
    /** @type {string[]} */
    this.active = [];
    /** What the next page comes after; undefined before the first, null where there is none. @type {string | null | undefined} */
    this.after = undefined;
    this.isOpen = false;
    /** Nobody answered when it was asked for last. */
    this.isStale = false;
    this.hasNotes = false;
    /** What the queue says that concerns batches: another one means to look. */
    this.seen = "";
    this.timer = 0;
    /** @type {Promise<void> | null} */
    this.coming = null;
    this.days = new Days();
    this.acts = {
      cancel: (/** @type {any} */ batch) => this.#act(() => cancelBatch(batch.batchId)),
      retry: (/** @type {any} */ batch) => this.#act(() => retryItems(batch.state, [batch.batchId])),
      tryAgain: (/** @type {any} */ batch) => this.#act(() => retryBatch(batch.batchId)),
      remove: (/** @type {any} */ batch) => this.#remove(batch),
    };
    /** Called when it was laid out again, so that its images may be others. */
    this.changed = () => {};
    /** What the viewer goes through. */
    this.told = {
      items: (/** @type {string} */ key) => imagesAround(this.order, this.#at(key)),
      more: (/** @type {string} */ key) => this.#more(key),
      gone: (/** @type {any} */ _image, /** @type {any} */ done) => this.#gone(done),
      retried: () => this.refresh(),
      left: (/** @type {any} */ image) => this.#focus(image),
      failed: (/** @type {any} */ error) => this.#failed(error),
    };
    onRetry(this.alert, () => (this.after === undefined ? this.#next() : this.refresh()));
    this.more.addEventListener("click", () => this.#next());
    this.observer = new IntersectionObserver((seen) => seen.some((one) => one.isIntersecting) && this.#next(), { rootMargin: MARGIN });
    hearQueue({ heard: (queue) => this.#heard(queue), away: () => {} });
    hearImages((change, isElsewhere) => this.#changed(change, isElsewhere));
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
      const page = (this.after === undefined && atHand()) || (await feedPage(this.after ?? ""));
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
    if (this.active.join() !== before.join()) this.order = [];
    for (const [id, { batch }] of this.places) if (!isThere.has(id) && batch.place > (page.next ?? "")) this.#drop(id);
    for (const batch of [...page.active, ...page.batches]) this.#put(batch);
    for (const id of before) if (!isThere.has(id) && this.places.has(id)) this.#lookAgain(id);
    const waiting = page.activeTotal - page.active.length;
    byId("feed-waiting").hidden = waiting <= 0;
    say(byId("feed-waiting"), `${counted(waiting, "more batch").replace(/hs$/, "hes")} in the queue`);
    this.hasNotes = page.notes.length > 0;
    byId("feed-note").hidden = this.places.size > 0 && !this.hasNotes;
    say(byId("feed-note"), page.notes.join("\n") || (this.places.size ? "" : "No images yet. Write a prompt, and they appear here."));
    this.#lay();
  }

  /** An old batch is not under way any more, and its place is not on the first page. @param {string} id */
  async #lookAgain(id) {
    const place = this.places.get(id);
    const isFetched = this.after === null || (this.after !== undefined && place && place.batch.place > this.after);
    if (!isFetched) this.#drop(id);
    if (place && isFetched) await this.#fetchAgain([place]);
    else this.#lay();
  }

  /** Fetch these as they are now; one that is not there any more goes. @param {Place[]} wanted */
  async #fetchAgain(wanted) {
    const rest = wanted.filter(({ batch }) => !this.active.includes(batch.batchId)).sort(latestFirst);
    try {
      while (rest.length) {
        const page = await feedPage(`${rest[0].batch.place}~`, Math.min(AGAIN, rest.length));
        for (const batch of page.batches) if (this.places.has(batch.batchId)) this.#put(batch);
        const last = page.next === null ? "" : page.batches.at(-1).place;
        const passed = rest.filter(({ batch }) => batch.place >= last);
        const found = new Set(page.batches.map((/** @type {any} */ batch) => batch.batchId));
        for (const { batch } of passed) if (!found.has(batch.batchId)) this.#drop(batch.batchId);
        rest.splice(0, passed.length);
      }
      this.#lay();
    } catch (error) {
      this.#failed(error);
    }
  }

  /** Fetch the images of what has come near, unless it flies past. */
  #want() {
    clearTimeout(this.flying);
    this.flying = setTimeout(() => {
      const wanted = this.folding.wanted();
      // What is under way is on the first page alone.
      if (wanted.some(({ batch }) => this.active.includes(batch.batchId))) this.refresh();
      this.#fetchAgain(wanted);
    }, FLYING_MILLISECONDS);
  }

  /** @param {any} batch */
  #put(batch) {
    const known = this.places.get(batch.batchId);
    if (known) {
      known.show(batch);
      if (this.folding.near.has(known)) this.folding.draw(known);
      return;
    }
    const place = new Place(batch, this.acts);
    this.places.set(batch.batchId, place);
    this.folding.add(place);
    // Of the first page nobody knows yet how high anything is.
    if (this.after === undefined) this.folding.draw(place);
    this.order = [];
  }

  /** @param {string} id */
  #drop(id) {
    const place = this.places.get(id);
    if (!place) return;
    this.folding.remove(place);
    this.places.delete(id);
    this.order = [];
  }

  /** Everything in its place. */
  #lay() {
    if (!this.order.length) this.#arrange();
    for (const id of this.active) this.#live(this.places.get(id));
    this.changed();
  }

  #arrange() {
    const active = this.active.map((id) => this.places.get(id)).filter((place) => place !== undefined);
    byId("feed-now").hidden = !active.length;
    arrange(byId("feed-active"), active.map((place) => place.element));
    const isShown = new Set(active);
    const others = [...this.places.values()].filter((place) => !isShown.has(place)).sort(latestFirst);
    this.days.lay(others);
    this.order = [...active, ...others];
  }

  /** @param {any} queue */
  #heard(queue) {
    if (queue.states.some((/** @type {any} */ one) => one.away)) return;
    const work = queue.next.map((/** @type {any} */ one) => [one.batchId, one.completed, one.failed, one.total, one.submitted > 0]);
    const seen = JSON.stringify([work, queue.states.map((/** @type {any} */ one) => [one.completed, one.failed])]);
    if (this.isOpen) for (const id of this.active) this.#live(this.places.get(id));
    if (seen === this.seen && !this.isStale) return;
    // What a state could not be asked for may be there now.
    const isKnown = !this.seen && !this.isStale && !this.hasNotes && this.#hasAll(queue);
    this.seen = seen;
    if (isKnown || !this.isOpen) return;
    clearTimeout(this.timer);
    this.timer = setTimeout(() => this.#lookOnce(), PAUSE_MILLISECONDS);
  }

  /** Whether the page, as it came, has what the queue begins with. @param {any} queue */
  #hasAll(queue) {
    const work = queue.next.filter((/** @type {any} */ one) => one.batchId !== null);
    return this.after !== undefined && work.length === this.active.length && work.every((/** @type {any} */ one) => {
      const batch = this.places.get(one.batchId)?.batch;
      return batch?.completedImages === one.completed && batch.failedImages === one.failed;
    });
  }

  /** After what is being fetched, which may be older. */
  async #lookOnce() {
    await this.coming;
    if (this.isOpen) await this.refresh();
  }

  /** @param {Place | undefined} place */
  #live(place) {
    if (place) place.hear(liveOf(place.batch, queueKnown()));
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
      const next = this.places.get(batch.batchId)?.element.nextElementSibling ?? byId("feed");
      this.#drop(batch.batchId);
      next.querySelector("a")?.focus();
      const kept = done.kept.length ? ` Files that were changed since stay: ${done.kept.join(", ")}` : "";
      offerUndo(`The batch is in the trash.${kept}`, () => this.#bringBack(done));
    });
  }

  /** @param {any} done what the API answered to a deletion @returns {Promise<string>} what is said then */
  async #bringBack(done) {
    const { restored, kept } = await restoreImages(done.state, done.trash);
    await this.refresh();
    return kept.length ? kept.join("; ") : `${counted(restored.length, "file")} restored.`;
  }

  /** Where in the order the batch of an image is; -1 where it is not. @param {string} key */
  #at(key) {
    const place = this.places.get(key.slice(0, key.lastIndexOf("/")));
    return place ? this.order.indexOf(place) : -1;
  }

  /** Fetch what comes before and after those around an image. @param {string} key */
  async #more(key) {
    const [from, to] = known(this.order, this.#at(key));
    const forgotten = this.order.slice(Math.max(0, from - AGAIN), to + AGAIN).filter((place) => place.isForgotten);
    if (forgotten.length) await this.#fetchAgain(forgotten);
    else if (to === this.order.length) await this.#next();
  }

  /** Back to where an image is. @param {any} image */
  #focus(image) {
    const place = this.places.get(image?.batchId);
    if (!place) return;
    this.folding.draw(place);
    /** @type {HTMLElement | null} */ (place.element.querySelector(`[data-image="${image.batchId}/${image.image}"]`))?.focus();
  }

  /** @param {import("../image_changes.js").Change} change @param {boolean} isElsewhere */
  #changed(change, isElsewhere) {
    for (const id of new Set([...(change.marks ?? []), ...(change.gone ?? [])].map((one) => one.batchId))) {
      const place = this.places.get(id);
      const images = changed(place?.batch.images ?? [], change, id);
      if (!place || images === place.batch.images) continue;
      const pictures = place.batch.pictures - (place.batch.images.length - images.length);
      place.show({ ...place.batch, images, pictures });
    }
    if (change.again && isElsewhere && this.isOpen) this.#lookOnce();
  }

  /** @param {any} done what the API answered to a deletion */
  #gone(done) {
    offerUndo("The image is in the trash.", () => this.#bringBack(done));
  }

  /** @param {any} error */
  #failed(error) {
    this.isStale = error instanceof Away;
    alarm(this.alert, error);
  }
}

/** @param {Place} one @param {Place} other */
const latestFirst = (one, other) => (one.batch.place > other.batch.place ? -1 : 1);

/** The first page, where the document came with it; once, since it is of that moment. */
function atHand() {
  const came = document.getElementById("feed-first");
  came?.remove();
  return came ? parsed(came.textContent ?? "") : null;
}
