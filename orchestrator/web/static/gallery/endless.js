/** A list that is fetched page by page as its end comes into sight. */

const SIZE = 60;
/** How far below what is seen the next page is fetched. */
const MARGIN = "800px";

/**
 * @typedef {object} Parts
 * @property {(query: URLSearchParams, signal: AbortSignal) => Promise<any>} ask
 * @property {(answer: any) => any[]} itemsOf
 * @property {(item: any) => string} keyOf
 * @property {(item: any) => HTMLElement} show
 * @property {(answer: any) => void} told called for every answer
 * @property {(error: unknown) => void} failed
 */

/** Keeps what was fetched in order, each once, however much came or went on the server meanwhile. */
export class Endless {
  /** @param {HTMLElement} list @param {HTMLElement} more the button that fetches what follows @param {Parts} parts */
  constructor(list, more, parts) {
    this.list = list;
    this.more = more;
    this.parts = parts;
    /** @type {Map<string, {item: any, element: HTMLElement}>} */
    this.known = new Map();
    this.query = new URLSearchParams();
    this.asking = new AbortController();
    this.isBusy = true;
    /** Until what is being fetched is there. */
    this.coming = Promise.resolve();
    this.observer = new IntersectionObserver((seen) => this.#seen(seen), { rootMargin: MARGIN });
    more.addEventListener("click", () => this.next());
  }

  /** Begin anew with what this query finds; what is shown stays until that is there. @param {URLSearchParams} query */
  async open(query) {
    this.asking.abort();
    this.asking = new AbortController();
    this.query = query;
    this.isBusy = false;
    await this.next({ anew: true });
  }

  /** Let go of everything. */
  close() {
    this.asking.abort();
    this.isBusy = true;
    this.#empty();
  }

  /** Fetch what comes next. */
  next({ anew = false } = {}) {
    if (!this.isBusy) {
      this.isBusy = true;
      this.coming = this.#next(anew);
    }
    return this.coming;
  }

  /** @param {boolean} anew */
  async #next(anew) {
    const { signal } = this.asking;
    try {
      await this.#fetch(anew, signal);
    } catch (error) {
      if (!signal.aborted) this.parts.failed(error);
    }
    if (!signal.aborted) this.isBusy = false;
  }

  /** Fetch until there are so many, or no more. @param {number} count */
  async reach(count) {
    for (let before = -1; before < this.known.size && this.known.size < count && !this.more.hidden; ) {
      before = this.known.size;
      await this.next();
    }
  }

  get items() {
    return [...this.known.values()].map(({ item }) => item);
  }

  /** @param {string} key */
  elementOf(key) {
    return this.known.get(key)?.element;
  }

  /** Take out what is gone; how many these were. @param {(item: any) => boolean} isGone */
  drop(isGone) {
    const gone = [...this.known].filter(([, { item }]) => isGone(item));
    for (const [key, { element }] of gone) {
      element.remove();
      this.known.delete(key);
    }
    return gone.length;
  }

  /** @param {boolean} anew @param {AbortSignal} signal */
  async #fetch(anew, signal) {
    // What was deleted moved the others up and what came moved them down: the page that is asked for holds some that
    // are known, and they are passed by.
    let page = anew ? 1 : Math.floor(this.known.size / SIZE) + 1;
    for (let came = 0, isLast = false; !came && !isLast; page += 1) {
      const asked = new URLSearchParams([...this.query, ["page", String(page)], ["size", String(SIZE)]]);
      const answer = await this.parts.ask(asked, signal);
      if (signal.aborted) return;
      if (anew) this.#empty();
      came = this.#add(this.parts.itemsOf(answer));
      isLast = page >= answer.pages;
      this.parts.told(answer);
      this.more.hidden = isLast;
      anew = false;
    }
    // An observer speaks when something changes, and once about what it begins with.
    this.observer.unobserve(this.more);
    this.observer.observe(this.more);
  }

  #empty() {
    this.known.clear();
    this.list.replaceChildren();
    this.more.hidden = true;
  }

  /** Show those that are new; how many these are. @param {any[]} items */
  #add(items) {
    const fresh = items.filter((item) => !this.known.has(this.parts.keyOf(item)));
    for (const item of fresh) {
      const element = this.parts.show(item);
      this.known.set(this.parts.keyOf(item), { item, element });
      this.list.append(element);
    }
    return fresh.length;
  }

  /** @param {IntersectionObserverEntry[]} seen */
  #seen(seen) {
    if (seen.some((entry) => entry.isIntersecting)) this.next();
  }
}
