/** One image large, with all that is known of it and what can be made of it; the only viewer of all pages. */

import { deleteImage, imageDetails, markFavorite } from "../api.js";
import { confirmed } from "../confirm.js";
import { byId, say } from "../dom.js";
import { changed, hearImages, keyOfImage } from "../image_changes.js";
import { Place } from "../place.js";
import { Acts } from "./acts.js";
import { isLoose, nameOf } from "../words.js";
import { Facts } from "./facts.js";
import { Filmstrip } from "./filmstrip.js";
import { grow, placeOf } from "./growing.js";
import { drawIcons } from "./icons.js";
import { Picture } from "./picture.js";

const dialog = byId("viewer");
const PATIENCE_MILLISECONDS = 15_000;
/** So many before the end of what is there, more is fetched. */
const AHEAD = 12;

/**
 * Images that follow each other: those of a list that are here, or some of them around one.
 * @typedef {object} Some
 * @property {any[]} items images of the API with `batchId`, see `listed`
 * @property {number} first the place of the first of them in the list
 * @property {number} total how many the list has
 */

/**
 * What a page tells the viewer.
 * @typedef {object} Told
 * @property {(key: string) => Some} items what is gone through, around the image that goes by this key
 * @property {(key: string) => Promise<void>} [more] fetch what comes before and after those
 * @property {(image: any, done: any) => void} gone an image was deleted, by what the API answered
 * @property {(image: any) => void} [retried] one that failed is queued again
 * @property {(image: any) => void} left the dialog is closed
 * @property {(error: unknown) => void} failed an image that the address names cannot be shown
 */

/** The dialog, over the images of a list. */
export class Viewer {
  /** @param {Told} told */
  constructor(told) {
    this.told = told;
    /** @type {any} */
    this.image = null;
    /** What is shown in its place once it is gone. @type {any} */
    this.neighbor = null;
    this.asking = new AbortController();
    this.place = new Place("image", { open: (value) => this.openKey(value), close: () => this.close() });
    this.picture = new Picture((step) => this.#go(step));
    this.strip = new Filmstrip(byId("viewer-strip"), (image) => this.#show(image));
    this.facts = new Facts(status);
    this.acts = new Acts(status, (image) => this.told.retried?.(image));
    drawIcons(dialog);
    hearImages((change) => this.#hear(change));
    this.#listen();
  }

  #listen() {
    const acts = { previous: () => this.#go(-1), next: () => this.#go(1), "viewer-close": () => this.close() };
    for (const [id, act] of Object.entries(acts)) byId(id).addEventListener("click", act);
    for (const [id, act] of Object.entries(this.#zooms())) byId(id).addEventListener("click", act);
    byId("viewer-delete").addEventListener("click", () => this.#delete());
    byId("viewer-star").addEventListener("click", () => this.#star());
    dialog.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    dialog.addEventListener("cancel", (/** @type {Event} */ event) => {
      if (event.target !== dialog) return;
      event.preventDefault();
      this.close();
    });
    dialog.addEventListener("close", () => {
      this.asking.abort();
      this.place.leave();
      this.picture.clear();
      this.strip.clear();
      this.acts.close();
      this.told.left(this.image);
    });
  }

  #zooms() {
    const { zoom } = this.picture;
    return { "viewer-out": () => zoom.out(), "viewer-whole": () => zoom.whole(), "viewer-in": () => zoom.in() };
  }

  /**
   * Open what is linked below this element by `data-image="BATCH/IMAGE"`, unless it is to be in a tab of its own.
   * @param {HTMLElement} root
   */
  opensLinks(root) {
    root.addEventListener("click", (event) => {
      const link = /** @type {HTMLElement | null} */ (/** @type {Element} */ (event.target).closest("[data-image]"));
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      event.preventDefault();
      this.openKey(link.dataset.image ?? "");
    });
  }

  /** @param {any} image */
  open(image) {
    if (dialog.open) {
      this.#show(image);
      dialog.focus();
      return;
    }
    this.place.wanted = keyOfImage(image);
    const from = placeOf(keyOfImage(image));
    this.#show(image);
    dialog.showModal();
    dialog.focus();
    grow(this.picture.view, from);
  }

  close() {
    dialog.close();
  }

  /** One of the list, or else one that is fetched by its ids. @param {string} key */
  async openKey(key) {
    this.place.wanted = key;
    const known = this.told.items(key).items.find((item) => keyOfImage(item) === key);
    if (known) {
      this.open(known);
      return;
    }
    const at = key.lastIndexOf("/");
    try {
      const image = await imageDetails(key.slice(0, at), key.slice(at + 1), AbortSignal.timeout(PATIENCE_MILLISECONDS));
      if (this.place.wanted === key) this.open(image);
    } catch (error) {
      this.place.leave();
      this.told.failed(error);
    }
  }

  /** The list has changed: one is there that was not, or is not any more. */
  refresh() {
    if (!dialog.open) return;
    const { items, here } = this.#here();
    const now = items[here];
    if (now && now.status !== this.image.status) this.#show(now);
    else this.#place();
  }

  /** @param {any} image */
  async #show(image) {
    this.image = image;
    this.place.enter(keyOfImage(image));
    this.asking.abort();
    this.asking = new AbortController();
    const { signal } = this.asking;
    status("");
    const { items, here } = this.#here();
    this.picture.show(image, here < 0 ? [] : [items[here + 1], items[here - 1]].filter(Boolean));
    this.#place();
    this.#tell(image);
    if (!image.url) return;
    try {
      const details = await imageDetails(image.batchId, image.image, signal);
      this.image = { ...image, ...details };
      this.#tell(this.image);
    } catch (error) {
      if (!signal.aborted && dialog.open && error instanceof Error) status(error.message);
    }
  }

  /** Where the image is in the list, and what is around it. */
  #place() {
    const { items, here, first, total } = this.#here();
    if (here >= 0) this.neighbor = items[here + 1] ?? items[here - 1] ?? null;
    this.strip.show(items, here, keyOfImage);
    say(byId("viewer-at"), here < 0 ? "" : `${(first + here + 1).toLocaleString()} of ${total.toLocaleString()}`);
    byId("previous").disabled = here <= 0;
    byId("next").disabled = here < 0 || here === items.length - 1;
    if (here >= 0 && (here >= items.length - AHEAD || (first && here < AHEAD))) this.#fetchMore(items.length);
  }

  /** @param {number} before how many there are */
  async #fetchMore(before) {
    await this.told.more?.(keyOfImage(this.image));
    if (dialog.open && this.#here().items.length !== before) this.#place();
  }

  #here() {
    const key = keyOfImage(this.image);
    const some = this.told.items(key);
    return { ...some, here: some.items.findIndex((item) => keyOfImage(item) === key) };
  }

  /** @param {any} image */
  #tell(image) {
    const of = image.batchName || image.prompt || image.batchId;
    say(byId("viewer-title"), isLoose(image) ? nameOf(image) : `${nameOf(image)} · ${of}`);
    this.facts.show(image);
    this.acts.show(image);
    byId("viewer-batch").href = `/?${new URLSearchParams({ batch: image.batchId })}`;
    byId("viewer-batch").hidden = image.readOnly || isLoose(image);
    byId("viewer-star").hidden = image.readOnly || !image.url;
    byId("viewer-star").ariaPressed = String(Boolean(image.favorite));
    byId("viewer-delete").hidden = image.readOnly || !image.version;
    for (const [id, query] of [["viewer-download", "download=1"], ["viewer-original", ""]]) {
      byId(id).hidden = !image.url;
      if (image.url) byId(id).href = query ? `${image.url}${image.url.includes("?") ? "&" : "?"}${query}` : image.url;
    }
  }

  /** @param {number} step */
  #go(step) {
    const { items, here } = this.#here();
    const at = Math.max(0, Math.min(items.length - 1, here + step));
    if (here >= 0 && at !== here) this.#show(items[at]);
  }

  async #star() {
    const { image } = this;
    try {
      await markFavorite(image, !image.favorite);
    } catch (error) {
      if (error instanceof Error) status(error.message);
    }
  }

  /** Here or elsewhere it was marked, or deleted. @param {import("../image_changes.js").Change} change */
  #hear(change) {
    if (!dialog.open || !this.image) return;
    [this.neighbor = null] = this.neighbor ? changed([this.neighbor], change) : [];
    const [now] = changed([this.image], change);
    if (!now) this.#leave();
    else if (now !== this.image) this.#tell((this.image = now));
  }

  /** What was shown is gone: on to what has its place now. */
  #leave() {
    if (this.neighbor) this.#show(this.neighbor);
    else dialog.close();
  }

  async #delete() {
    const { image } = this;
    const text = `${image.file} goes to the trash, from which you can restore it for 30 days. It is not rendered again.`;
    const done = await confirmed("Delete this image?", text, () => deleteImage(image));
    if (!done) return;
    this.told.gone(image, done);
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const target = /** @type {HTMLElement} */ (event.target);
    // In a player these keys go back and forth in what it plays, and in a field they are what is typed.
    if (target.matches("input, select, textarea")) return;
    if (target.matches("video, audio") && event.key !== "Delete") return;
    if (this.picture.zoom.press(event, { moves: event.shiftKey })) return;
    const act = this.#keys()[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  /** @returns {Record<string, () => void>} */
  #keys() {
    const press = (/** @type {string} */ id) => () => byId(id).checkVisibility() && byId(id).click();
    return {
      ArrowLeft: () => this.#go(-1),
      ArrowRight: () => this.#go(1),
      Home: () => this.#go(-Infinity),
      End: () => this.#go(Infinity),
      Delete: press("viewer-delete"),
      f: press("viewer-star"),
      u: press("viewer-use"),
      m: press("more-open"),
      l: press("upscale-open"),
      s: press("stage-open"),
      d: press("viewer-download"),
      i: () => dialog.classList.toggle("wide"),
      "?": () => byId("viewer-keys").togglePopover(),
    };
  }
}

/** @param {string} text @param {Node[]} more */
function status(text, ...more) {
  if (more.length) byId("viewer-status").replaceChildren(text, ...more);
  else say(byId("viewer-status"), text);
}

/** Where an image of a batch is shown on the page of its batch. @param {string} batchId @param {any} image */
export const addressIn = (batchId, image) =>
  `/?${new URLSearchParams({ batch: batchId, image: keyOfImage({ batchId, image: image.image }) })}`;

/**
 * An image of a batch's own calls, as the gallery has it: what is not known of it yet is fetched when it is shown.
 * @param {{batchId: string, batchName?: string | null, prompt?: string}} batch
 * @param {any} image
 */
export const listed = (batch, image) => ({ parameters: {}, readOnly: false, file: "", prompt: "", ...batch, ...image });

/** A list of which everything is here. @param {any[]} items @returns {Some} */
export const allOf = (items) => ({ items, first: 0, total: items.length });
