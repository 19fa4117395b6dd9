/** A grid of any number of tiles of one height, of which only those in sight and around it are in the document. */

/** How much is drawn above and below what is seen, in windows. */
const AROUND = 0.75;

/**
 * @typedef {object} Parts
 * @property {(index: number) => any} itemAt undefined while it is not there yet
 * @property {(item: any) => string} keyOf
 * @property {(item: any, index: number) => HTMLElement} show a list item
 * @property {() => HTMLElement} blank what stands for one that is not there yet
 * @property {(first: number, end: number) => void} wants these are in sight
 */

/** Over a list whose style sheet makes it a grid, and says in `--text` how much room is below each square. */
export class Grid {
  /** @param {HTMLElement} list @param {Parts} parts */
  constructor(list, parts) {
    this.list = list;
    this.parts = parts;
    this.total = 0;
    this.first = 0;
    /** @type {Map<number, {key: string | null, element: HTMLElement}>} */
    this.drawn = new Map();
    this.isDue = false;
    addEventListener("scroll", () => this.draw(), { passive: true });
    addEventListener("resize", () => this.draw());
    new ResizeObserver(() => this.draw()).observe(/** @type {Element} */ (list.parentElement));
  }

  /** Draw what is in sight, before the next picture of the screen. */
  draw() {
    if (this.isDue) return;
    this.isDue = true;
    requestAnimationFrame(() => {
      this.isDue = false;
      this.drawNow();
    });
  }

  /** Draw everything anew: what is shown at a place may be something else. @param {number} total */
  show(total) {
    this.total = total;
    this.list.hidden = !total;
    this.drawNow();
  }

  /** The measures of now, in pixels. */
  measure() {
    const style = getComputedStyle(this.list);
    const widths = style.gridTemplateColumns.split(" ").map(Number.parseFloat);
    const width = widths[0] || 1;
    const [rowGap, columnGap] = [Number.parseFloat(style.rowGap) || 0, Number.parseFloat(style.columnGap) || 0];
    const tile = Math.round(width + Number.parseFloat(style.getPropertyValue("--text")));
    return { columns: widths.length || 1, width, tile, row: tile + rowGap, column: width + columnGap };
  }

  drawNow() {
    if (this.list.hidden) return;
    const { columns, tile, row } = this.measure();
    const rows = Math.ceil(this.total / columns);
    const { top } = this.list.getBoundingClientRect();
    const margin = innerHeight * AROUND;
    const from = Math.min(Math.max(0, Math.floor((-top - margin) / row)), Math.max(0, rows - 1));
    const to = Math.min(rows, Math.max(from + 1, Math.ceil((innerHeight - top + margin) / row)));
    Object.assign(this.list.style, {
      gridAutoRows: `${tile}px`,
      paddingTop: `${from * row}px`,
      paddingBottom: `${Math.max(0, rows - to) * row}px`,
    });
    this.#fill(from * columns, Math.min(this.total, to * columns));
  }

  /** @param {number} first @param {number} end */
  #fill(first, end) {
    for (const [index, { element }] of this.drawn) {
      if (index >= first && index < end) continue;
      element.remove();
      this.drawn.delete(index);
    }
    /** @type {Element | null} */
    let before = null;
    for (let index = end - 1; index >= first; index -= 1) before = this.#put(index, before);
    this.first = first;
    this.parts.wants(first, end);
  }

  /** One tile, as it is now. @param {number} index @param {Element | null} before what comes after it */
  #put(index, before) {
    const item = this.parts.itemAt(index);
    const key = item === undefined ? null : this.parts.keyOf(item);
    const there = this.drawn.get(index);
    if (there && there.key === key) return there.element;
    const element = item === undefined ? this.parts.blank() : this.parts.show(item, index);
    element.ariaPosInSet = String(index + 1);
    element.ariaSetSize = String(this.total);
    element.dataset.index = String(index);
    if (there) {
      const isFocused = there.element.contains(document.activeElement);
      there.element.replaceWith(element);
      if (isFocused) element.querySelector("a")?.focus({ preventScroll: true });
    } else this.list.insertBefore(element, before);
    this.drawn.set(index, { key, element });
    return element;
  }

  /** Draw these again although they go by the same key. @param {(key: string) => boolean} isMeant */
  redraw(isMeant) {
    for (const one of this.drawn.values()) if (one.key !== null && isMeant(one.key)) one.key = "";
    this.drawNow();
  }

  /** @param {number} index @returns {HTMLElement | undefined} */
  elementAt(index) {
    return this.drawn.get(index)?.element;
  }

  /** Where the tile is on the page. @param {number} index */
  boxOf(index) {
    const { columns, width, tile, row, column } = this.measure();
    const { left, top } = this.list.getBoundingClientRect();
    const x = left + (index % columns) * column;
    const y = top + Math.floor(index / columns) * row;
    return { left: x, top: y, right: x + width, bottom: y + tile };
  }

  /** Those that a rectangle of the window touches. @param {{left: number, top: number, right: number, bottom: number}} area */
  within(area) {
    const { columns, width, tile, row, column } = this.measure();
    const { left, top } = this.list.getBoundingClientRect();
    const rows = { from: Math.max(0, Math.ceil((area.top - top - tile) / row)), to: Math.floor((area.bottom - top) / row) };
    const across = {
      from: Math.max(0, Math.ceil((area.left - left - width) / column)),
      to: Math.min(columns - 1, Math.floor((area.right - left) / column)),
    };
    const found = [];
    for (let y = rows.from; y <= rows.to; y += 1) {
      for (let x = across.from; x <= across.to; x += 1) if (y * columns + x < this.total) found.push(y * columns + x);
    }
    return found;
  }

  /** Bring a tile into sight and put the focus on it. @param {number} index */
  focus(index) {
    const { top, bottom } = this.boxOf(index);
    const head = Number.parseFloat(getComputedStyle(document.documentElement).getPropertyValue("--head")) || 0;
    if (top < head + 8) scrollBy({ top: top - head - 8, behavior: "instant" });
    else if (bottom > innerHeight - 72) scrollBy({ top: bottom - innerHeight + 72, behavior: "instant" });
    this.drawNow();
    const link = this.elementAt(index)?.querySelector("a");
    link?.focus({ preventScroll: true });
    return Boolean(link);
  }
}
