/** What a search has found, of which only some is here: pages that come as they are wanted and go again. */

const SIZE = 60;
/** So many pages are kept at most; those that were wanted longest ago go first. */
const KEPT = 24;
/** Whoever scrolls fast wants nothing of what flies past. */
const PAUSE_MILLISECONDS = 60;

/**
 * @typedef {object} Told
 * @property {(query: URLSearchParams, signal: AbortSignal) => Promise<any>} ask
 * @property {(answer: any) => void} told called for every answer
 * @property {() => void} changed there is more here, or something else
 * @property {(error: unknown) => void} failed
 */

/** The pages of one search after another. */
export class Pages {
  /** @param {Told} parts */
  constructor(parts) {
    this.parts = parts;
    this.total = 0;
    /** @type {Map<number, any[]>} */
    this.pages = new Map();
    /** Pages whose content may have moved since. @type {Set<number>} */
    this.stale = new Set();
    /** @type {Set<number>} */
    this.coming = new Set();
    this.query = new URLSearchParams();
    this.asking = new AbortController();
    this.wanted = { first: 0, end: SIZE };
    this.pause = 0;
  }

  /** What this finds, from its beginning; what is shown stays until that is there. @param {URLSearchParams} query */
  async open(query) {
    this.close();
    this.query = query;
    this.wanted = { first: 0, end: SIZE };
    await this.#fetch(0, { anew: true });
  }

  /** Let go of what is being fetched. */
  close() {
    clearTimeout(this.pause);
    this.asking.abort();
    this.asking = new AbortController();
    this.coming.clear();
  }

  /** Something is gone or came back: what is here is fetched again, that in sight first. */
  async reload() {
    for (const page of this.pages.keys()) this.stale.add(page);
    await Promise.all(this.#pagesWanted().map((page) => this.#fetch(page)));
  }

  /** @param {number} index */
  itemAt(index) {
    return this.pages.get(Math.floor(index / SIZE))?.[index % SIZE];
  }

  /** These are in sight. @param {number} first @param {number} end */
  want(first, end) {
    this.wanted = { first, end };
    clearTimeout(this.pause);
    if (this.#missing().length) this.pause = setTimeout(() => this.#fetchMissing(), PAUSE_MILLISECONDS);
  }

  /** Those that are here and follow each other, around one; and the place of the first. @param {number} index */
  run(index) {
    const here = Math.floor(index / SIZE);
    let [first, last] = [here, here];
    while (this.pages.has(first - 1)) first -= 1;
    while (this.pages.has(last + 1)) last += 1;
    const items = [];
    for (let page = first; page <= last; page += 1) items.push(...(this.pages.get(page) ?? []));
    return { first: first * SIZE, items };
  }

  /** Fetch what is not here of these, at once. @param {number} first @param {number} end */
  async reach(first, end) {
    const pages = [];
    for (let page = Math.floor(Math.max(0, first) / SIZE); page * SIZE < Math.min(end, this.total); page += 1) pages.push(page);
    await Promise.all(pages.filter((page) => !this.pages.has(page)).map((page) => this.#fetch(page)));
  }

  /** @param {(item: any) => boolean} isMeant @returns {number} -1 where it is not here */
  indexOf(isMeant) {
    for (const [page, items] of this.pages) {
      const at = items.findIndex(isMeant);
      if (at >= 0) return page * SIZE + at;
    }
    return -1;
  }

  /** All that is here. */
  *items() {
    for (const items of this.pages.values()) yield* items;
  }

  #pagesWanted() {
    const { first, end } = this.wanted;
    const pages = [];
    for (let page = Math.floor(first / SIZE); page * SIZE < Math.min(end, this.total); page += 1) pages.push(page);
    return pages.length ? pages : [0];
  }

  #missing() {
    return this.#pagesWanted().filter((page) => (!this.pages.has(page) || this.stale.has(page)) && !this.coming.has(page));
  }

  #fetchMissing() {
    for (const page of this.#missing()) this.#fetch(page);
  }

  /** @param {number} page @param {{anew?: boolean}} [how] */
  async #fetch(page, { anew = false } = {}) {
    const { signal } = this.asking;
    this.coming.add(page);
    try {
      const asked = new URLSearchParams([...this.query, ["page", String(page + 1)], ["size", String(SIZE)]]);
      const answer = await this.parts.ask(asked, signal);
      if (signal.aborted) return;
      if (anew) this.pages.clear();
      if (anew || answer.total !== this.total) for (const other of this.pages.keys()) this.stale.add(other);
      this.total = answer.total;
      this.pages.delete(page); // The latest ones are last.
      this.pages.set(page, answer.images);
      this.stale.delete(page);
      if (anew) this.#hold(answer);
      this.#forget();
      this.parts.told(answer);
      this.parts.changed();
    } catch (error) {
      if (!signal.aborted) this.parts.failed(error);
    } finally {
      if (!signal.aborted) this.coming.delete(page);
    }
  }

  /** What is made from now on would push all else down while it is looked at. @param {any} answer the first one */
  #hold(answer) {
    const [newest] = answer.images;
    if (!newest || answer.indexing || (this.query.get("sort") ?? "newest") !== "newest") return;
    this.query = new URLSearchParams(this.query);
    this.query.set("to", new Date(new Date(newest.completedAt).getTime() + 1).toISOString());
  }

  #forget() {
    const kept = new Set(this.#pagesWanted());
    for (const page of this.pages.keys()) {
      if (this.pages.size <= KEPT) return;
      if (!kept.has(page)) this.pages.delete(page);
    }
  }
}
