/** Which images are chosen: by click, shift and click, a band that is drawn over them, and keys. */

import { make } from "../dom.js";

/** Less than this is a click that trembled. */
const DRAG_PIXELS = 6;
/** So near to the window's edge the page scrolls along. */
const EDGE_PIXELS = 48;

/**
 * @typedef {object} Parts
 * @property {import("./grid.js").Grid} grid
 * @property {(index: number) => any} itemAt
 * @property {(image: any) => string} keyOf
 * @property {(first: number, count: number) => Promise<any[]>} refsOf ids of what is found there
 * @property {() => void} changed
 * @property {(error: unknown) => void} failed
 */

/** Over the tiles of a grid. What is chosen stays so while other things are looked for. */
export class Selection {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    /** By key. @type {Map<string, any>} */
    this.chosen = new Map();
    /** Where a range begins. */
    this.anchor = 0;
    this.band = new Band(parts.grid, (indices, keeps) => this.#takeBand(indices, keeps), () => this.#complete());
    /** What was chosen before the band. @type {Map<string, any>} */
    this.before = new Map();
    /** @type {number[]} */
    this.banded = [];
  }

  get size() {
    return this.chosen.size;
  }

  get refs() {
    return [...this.chosen.values()].map(({ batchId, image, version }) => ({ batchId, image, version }));
  }

  /** @param {any} image */
  has(image) {
    return this.chosen.has(this.parts.keyOf(image));
  }

  clear() {
    this.chosen.clear();
    this.parts.changed();
  }

  /** These are gone. @param {Iterable<any>} images */
  drop(images) {
    for (const image of images) this.chosen.delete(this.parts.keyOf(image));
    this.parts.changed();
  }

  /** @param {number} index */
  toggle(index) {
    const item = this.parts.itemAt(index);
    if (!item) return;
    this.anchor = index;
    if (!this.chosen.delete(this.parts.keyOf(item))) this.#add(item);
    this.parts.changed();
  }

  /** From where the last one was chosen to here, both included. @param {number} index */
  async extend(index) {
    const [first, last] = [Math.min(this.anchor, index), Math.max(this.anchor, index)];
    await this.#addRange(first, last - first + 1);
  }

  /** Everything that was found, as far as one call can take it. @param {number} most */
  async all(most) {
    await this.#addRange(0, Math.min(most, this.parts.grid.total));
  }

  /** @param {number} first @param {number} count */
  async #addRange(first, count) {
    try {
      const items = [];
      for (let index = first; index < first + count; index += 1) items.push(this.parts.itemAt(index));
      for (const item of items.every(Boolean) ? items : await this.parts.refsOf(first, count)) this.#add(item);
    } catch (error) {
      this.parts.failed(error);
    }
    this.parts.changed();
  }

  /** @param {any} item */
  #add(item) {
    this.chosen.set(this.parts.keyOf(item), item);
  }

  /** @param {number[]} indices @param {boolean} keeps what was chosen before */
  #takeBand(indices, keeps) {
    if (!this.band.wasMoving) this.before = new Map(keeps ? this.chosen : []);
    this.banded = indices;
    this.chosen = new Map(this.before);
    for (const index of indices) {
      const item = this.parts.itemAt(index);
      if (item) this.#add(item);
    }
    if (indices.length) this.anchor = indices[0];
    this.parts.changed();
  }

  /** What the band went over before it was here. */
  async #complete() {
    const missing = this.banded.filter((index) => !this.parts.itemAt(index));
    if (!missing.length) return;
    const first = missing[0];
    try {
      const refs = await this.parts.refsOf(first, missing[missing.length - 1] - first + 1);
      for (const index of missing) if (refs[index - first]) this.#add(refs[index - first]);
    } catch (error) {
      this.parts.failed(error);
    }
    this.parts.changed();
  }
}

/** The rectangle that a mouse draws over the grid. */
class Band {
  /**
   * @param {import("./grid.js").Grid} grid
   * @param {(indices: number[], keeps: boolean) => void} takes at every move
   * @param {() => void} ended
   */
  constructor(grid, takes, ended) {
    this.grid = grid;
    this.takes = takes;
    this.ended = ended;
    /** Where it began, on the page. @type {{x: number, y: number, keeps: boolean} | null} */
    this.start = null;
    this.wasMoving = false;
    this.last = { x: 0, y: 0 };
    this.shown = make("div", { className: "band", hidden: true });
    grid.list.before(this.shown);
    const { list } = grid;
    list.addEventListener("pointerdown", (event) => this.#down(event));
    list.addEventListener("dragstart", (event) => event.preventDefault());
    // The click that follows is none.
    list.addEventListener("click", (event) => this.#click(event), true);
  }

  /** @param {PointerEvent} event */
  #down(event) {
    this.wasMoving = false;
    const isControl = /** @type {Element} */ (event.target).closest("button, input, label");
    if (event.pointerType !== "mouse" || event.button !== 0 || isControl) return;
    this.start = { x: event.pageX, y: event.pageY, keeps: event.shiftKey || event.ctrlKey || event.metaKey };
    const over = new AbortController();
    const { signal } = over;
    const end = () => {
      over.abort();
      this.start = null;
      this.shown.hidden = true;
      if (this.wasMoving) this.ended();
    };
    addEventListener("pointermove", (move) => this.#move(move), { signal });
    addEventListener("pointerup", end, { signal });
    addEventListener("pointercancel", end, { signal });
    addEventListener("scroll", () => this.wasMoving && this.#draw(), { signal });
  }

  /** @param {PointerEvent} event */
  #move(event) {
    if (!this.start) return;
    this.last = { x: event.clientX, y: event.clientY };
    const distance = Math.hypot(event.pageX - this.start.x, event.pageY - this.start.y);
    if (!this.wasMoving && distance < DRAG_PIXELS) return;
    getSelection()?.removeAllRanges();
    this.#draw();
    if (event.clientY > innerHeight - EDGE_PIXELS) scrollBy(0, EDGE_PIXELS / 2);
    else if (event.clientY < EDGE_PIXELS) scrollBy(0, -EDGE_PIXELS / 2);
  }

  #draw() {
    if (!this.start) return;
    const [x, y] = [this.start.x - scrollX, this.start.y - scrollY];
    const area = {
      left: Math.min(x, this.last.x),
      top: Math.min(y, this.last.y),
      right: Math.max(x, this.last.x),
      bottom: Math.max(y, this.last.y),
    };
    this.takes(this.grid.within(area), this.start.keeps);
    this.wasMoving = true;
    this.shown.hidden = false;
    Object.assign(this.shown.style, {
      left: `${area.left}px`,
      top: `${area.top}px`,
      width: `${area.right - area.left}px`,
      height: `${area.bottom - area.top}px`,
    });
  }

  /** @param {MouseEvent} event */
  #click(event) {
    if (!this.wasMoving) return;
    this.wasMoving = false;
    event.preventDefault();
    event.stopPropagation();
  }
}
