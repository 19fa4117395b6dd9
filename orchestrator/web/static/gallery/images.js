/** The images of the gallery: a grid of all that was found, chosen and opened by mouse and by keys. */

import { foundImages, galleryImages, markFavorite } from "../api.js";
import { byId } from "../dom.js";
import { hearImages, keyOfImage } from "../image_changes.js";
import { CompareView } from "../viewer/compare.js";
import { Viewer } from "../viewer/viewer.js";
import { Acts } from "./acts.js";
import { Grid } from "./grid.js";
import { Pages } from "./pages.js";
import { Selection } from "./selection.js";
import { blankTile, markTile, pictureTile } from "./tiles.js";

/** In one call of the API. */
const MOST_CHOSEN = 10_000;

/**
 * @typedef {object} Told
 * @property {(answer: any) => void} told
 * @property {(error: unknown) => void} failed
 * @property {(image: any, done: any) => void} gone one was deleted in the viewer
 */

/** The list `#pictures` and all that belongs to it. */
export class Images {
  /** @param {Told} told */
  constructor(told) {
    this.told = told;
    this.list = byId("pictures");
    this.at = 0;
    this.pages = new Pages({ ask: galleryImages, told: told.told, failed: told.failed, changed: () => this.#changed() });
    this.grid = new Grid(this.list, {
      itemAt: (index) => this.pages.itemAt(index),
      keyOf: keyOfImage,
      show: (image, index) => this.#tile(image, index),
      blank: blankTile,
      wants: (first, end) => this.pages.want(first, end),
    });
    this.selection = new Selection({
      grid: this.grid,
      itemAt: (index) => this.pages.itemAt(index),
      keyOf: keyOfImage,
      refsOf: (first, count) => this.#refs(first, count),
      changed: () => this.#chosen(),
      failed: told.failed,
    });
    this.acts = new Acts({
      selection: this.selection,
      compare: (images) => this.compare.open(images),
      reload: () => this.pages.reload(),
    });
    this.viewer = new Viewer({
      items: () => ({ ...this.pages.run(this.at), total: this.pages.total }),
      more: () => this.#more(),
      gone: (image, done) => this.told.gone(image, done),
      failed: told.failed,
      left: (image) => this.#left(image),
    });
    this.compare = new CompareView({
      keyOf: keyOfImage,
      items: () => [...this.pages.items()],
      idsOf: (key) => [key.slice(0, key.lastIndexOf("/")), key.slice(key.lastIndexOf("/") + 1)],
      failed: told.failed,
    });
    hearImages((change, isElsewhere) => this.#hear(change, isElsewhere));
    this.list.addEventListener("click", (/** @type {MouseEvent} */ event) => this.#click(event));
    this.list.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
  }

  /** @param {URLSearchParams} query */
  async open(query) {
    await this.pages.open(query);
  }

  close() {
    this.pages.close();
    this.grid.show(0);
  }

  /** What the address says is open. */
  arrive() {
    this.viewer.place.arrive();
    this.compare.place.arrive();
  }

  #changed() {
    this.grid.show(this.pages.total);
    this.viewer.refresh();
  }

  /** @param {any} image @param {number} index */
  #tile(image, index) {
    const tile = pictureTile(image);
    markTile(tile, this.selection.has(image));
    tile.dataset.index = String(index);
    return tile;
  }

  /** @param {MouseEvent} event */
  #click(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const tile = /** @type {HTMLElement | null} */ (target.closest("li"));
    if (!tile) return;
    const index = Number(tile.dataset.index);
    const image = this.pages.itemAt(index);
    if (!image) return;
    if (target.closest(".tile-star")) {
      this.#star(image);
      return;
    }
    const isPick = target.matches(".tile-pick");
    if (!isPick && !target.closest("a")) return;
    // A new tab is the browser's own affair, unless images are being chosen.
    if (!isPick && !this.selection.size && (event.ctrlKey || event.metaKey)) return;
    if (!isPick) event.preventDefault();
    if (event.shiftKey && this.selection.size) this.selection.extend(index);
    else if (isPick || this.selection.size || event.shiftKey) this.selection.toggle(index);
    else this.#open(index);
  }

  /** @param {number} index */
  #open(index) {
    this.at = index;
    this.viewer.open(this.pages.itemAt(index));
    this.pages.reach(index - 1, index + 2);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    const target = /** @type {HTMLElement} */ (event.target);
    const tile = /** @type {HTMLElement | null} */ (target.closest("li"));
    if (!tile || event.altKey) return;
    const index = Number(tile.dataset.index);
    const step = this.#steps(index)[event.key];
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand && event.key.toLowerCase() === "a") this.selection.all(MOST_CHOSEN);
    else if (isCommand) return;
    else if (step !== undefined) this.#go(index, step, event.shiftKey);
    else if (event.key === " " && !target.matches("input, button")) this.#pick(index, event.shiftKey);
    else if (event.key === "Escape" && this.selection.size) this.selection.clear();
    else if (event.key === "Delete" && this.selection.size) byId("chosen-delete").click();
    else if (event.key === "f") this.selection.size ? byId("chosen-favorite").click() : this.#star(this.pages.itemAt(index));
    else if (event.key === "t" && this.selection.size) byId("chosen-tag").click();
    else return;
    event.preventDefault();
  }

  /** @param {number} index @returns {Record<string, number>} */
  #steps(index) {
    const { columns } = this.grid.measure();
    const page = columns * Math.max(1, Math.floor(innerHeight / this.grid.measure().row));
    return {
      ArrowRight: index + 1,
      ArrowLeft: index - 1,
      ArrowDown: index + columns,
      ArrowUp: index - columns,
      PageDown: Math.min(index + page, this.grid.total - 1),
      PageUp: Math.max(index - page, 0),
      Home: 0,
      End: this.grid.total - 1,
    };
  }

  /** @param {number} from @param {number} to @param {boolean} chooses all between */
  async #go(from, to, chooses) {
    if (to < 0 || to >= this.grid.total) return;
    if (chooses && !this.selection.size) this.selection.toggle(from);
    if (!this.pages.itemAt(to)) await this.pages.reach(to, to + 1);
    this.grid.focus(to);
    if (chooses) this.selection.extend(to);
  }

  /** @param {number} index @param {boolean} isRange */
  #pick(index, isRange) {
    if (isRange && this.selection.size) this.selection.extend(index);
    else this.selection.toggle(index);
  }

  /** @param {any} image */
  async #star(image) {
    if (!image || image.readOnly) return;
    try {
      await markFavorite(image, !image.favorite);
    } catch (error) {
      this.told.failed(error);
    }
  }

  /** @param {import("../image_changes.js").Change} change @param {boolean} isElsewhere */
  #hear({ marks = [], gone = [], again }, isElsewhere) {
    if (marks.length) this.#marked(marks);
    if (gone.length) this.selection.drop(gone);
    if (gone.length || (again && isElsewhere)) this.pages.reload();
  }

  /** @param {any[]} marks ids with favorite and tags */
  #marked(marks) {
    const known = new Map(marks.map((one) => [keyOfImage(one), one]));
    for (const image of [...this.pages.items(), ...this.selection.chosen.values()]) {
      const now = known.get(keyOfImage(image));
      if (now) Object.assign(image, { favorite: now.favorite, tags: now.tags });
    }
    this.grid.redraw((key) => known.has(key));
    this.acts.show();
  }

  #chosen() {
    for (const [index, { element }] of this.grid.drawn) {
      const image = this.pages.itemAt(index);
      markTile(element, Boolean(image) && this.selection.has(image));
    }
    this.list.classList.toggle("choosing", this.selection.size > 0);
    this.acts.show();
  }

  /** @param {number} first @param {number} count */
  async #refs(first, count) {
    const asked = new URLSearchParams([...this.pages.query, ["offset", String(first)], ["count", String(Math.min(count, MOST_CHOSEN))]]);
    return (await foundImages(asked)).images;
  }

  async #more() {
    const { first, items } = this.pages.run(this.at);
    await this.pages.reach(first - 1, first + items.length + 1);
  }

  /** The viewer is closed: back to where the image is. @param {any} image */
  #left(image) {
    if (!image) return;
    const index = this.pages.indexOf((one) => keyOfImage(one) === keyOfImage(image));
    if (index >= 0) this.grid.focus(index);
  }
}
