/** One batch of the feed: what was asked for, how it stands, what can be done, its images. */

import { make, say } from "../dom.js";
import { counted, parametersLine, titleOf } from "../words.js";
import { isActive, lookFor, NOTHING, wordFor } from "./batch_words.js";
import { ComingTile, tileOf } from "./tile.js";

const TIME = new Intl.DateTimeFormat(undefined, { timeStyle: "short" });
/** Places for images to come that are shown of a batch under way. */
const COMING = 12;

/** @typedef {{cancel: (batch: any) => void, retry: (batch: any) => void, tryAgain: (batch: any) => void, remove: (batch: any) => void}} Acts */

/** Keeps what is drawn as the batch is; what has not changed is not touched. */
export class BatchCard {
  /** @param {any} batch of the feed @param {Acts} acts @param {HTMLElement} element where it is drawn */
  constructor(batch, acts, element) {
    this.acts = acts;
    this.batch = batch;
    this.live = NOTHING;
    this.link = make("a", { href: `/?${new URLSearchParams({ batch: batch.batchId })}`, className: "feed-title" });
    this.link.dataset.batch = batch.batchId;
    this.badge = make("span", { className: "badge" });
    this.facts = make("span", {});
    this.message = make("p", { className: "notice small", role: "status", hidden: true });
    this.bar = make("progress", { max: 1, hidden: true, "aria-label": `Progress of ${titleOf(batch)}` });
    this.tiles = make("ol", { className: "feed-tiles plain", "aria-label": "Images" });
    this.buttons = make("div", { className: "row feed-acts" });
    const about = make("p", { className: "row small soft feed-about" }, this.badge, this.facts);
    const head = make("div", { className: "feed-head" }, make("h4", {}, this.link), about);
    element.replaceChildren(make("div", { className: "feed-top" }, head, this.buttons), this.bar, this.message, this.tiles);
    /** What is shown of each image, as JSON. @type {Map<string, {looks: string, element: HTMLElement}>} */
    this.shown = new Map();
    /** @type {ComingTile[]} */
    this.coming = [];
    this.drawn = "";
    this.show(batch);
  }

  /** @param {any} batch */
  show(batch) {
    this.batch = batch;
    const looks = JSON.stringify(batch);
    if (looks === this.drawn) return;
    this.drawn = looks;
    say(this.link, titleOf(batch));
    const images = batch.pictures ? counted(batch.pictures, "image") : "";
    const asked = parametersLine(batch.parameters, {});
    const place = batch.readOnly ? "read only" : (batch.stateName ?? "");
    say(this.facts, [images, TIME.format(new Date(batch.createdAt)), place, asked].filter(Boolean).join(" · "));
    this.facts.title = this.facts.textContent;
    this.tiles.style.setProperty("--shape", String(Math.min(2.4, Math.max(0.4, batch.shape ?? 1))));
    this.#act();
    this.#draw();
    this.hear(this.live);
  }

  /** What the queue says of it now. @param {import("./batch_words.js").Live} live */
  hear(live) {
    this.live = live;
    const { batch } = this;
    say(this.badge, wordFor(batch, live));
    this.badge.className = `badge ${lookFor(batch)}`;
    const active = isActive(batch);
    this.bar.hidden = !active;
    this.bar.max = Math.max(1, batch.totalImages);
    this.bar.value = batch.completedImages + batch.failedImages;
    const message = active ? live.message : "";
    this.message.hidden = !message;
    say(this.message, message.includes("not answering") && batch.pictures ? `${message} ${safe(batch.pictures)}` : message);
    this.#come(active ? live.running : []);
  }

  #draw() {
    const { batch } = this;
    const kept = new Map();
    for (const image of batch.images) {
      const looks = JSON.stringify([image.thumbnail, image.file, image.favorite, image.differs]);
      const before = this.shown.get(image.image);
      kept.set(image.image, before?.looks === looks ? before : { looks, element: tileOf(batch, image) });
    }
    this.shown = kept;
    const rest = batch.pictures - batch.images.length;
    const more = rest > 0 && !isActive(batch) ? [make("li", {}, this.#more(rest))] : [];
    arrange(this.tiles, [...[...kept.values()].map(({ element }) => element), ...more, ...this.coming.map(({ element }) => element)]);
  }

  /** @param {number} rest images that are not shown here */
  #more(rest) {
    const link = make("a", { className: "feed-tile rest", href: this.link.href }, `+${rest.toLocaleString()}`);
    link.setAttribute("aria-label", `${counted(rest, "more image")} of ${titleOf(this.batch)}`);
    link.dataset.batch = this.batch.batchId;
    return link;
  }

  /** Places for what is rendered and for what comes. @param {any[]} running */
  #come(running) {
    const { batch } = this;
    const left = isActive(batch) ? batch.totalImages - batch.completedImages - batch.failedImages : 0;
    const count = Math.max(running.length, Math.min(COMING, left));
    while (this.coming.length > count) this.coming.pop()?.element.remove();
    while (this.coming.length < count) {
      const tile = new ComingTile();
      this.coming.push(tile);
      this.tiles.append(tile.element);
    }
    this.coming.forEach((tile, at) => tile.show(running[at] ?? null));
  }

  #act() {
    const { batch, acts } = this;
    const name = titleOf(batch);
    /** @type {any[]} */
    const made = [];
    const button = (/** @type {string} */ text, /** @type {(batch: any) => void} */ act, className = "quiet") => {
      const one = make("button", { type: "button", className, "aria-label": `${text}: ${name}` }, text);
      one.addEventListener("click", () => act(this.batch));
      made.push(one);
    };
    if (isActive(batch)) button("Cancel", acts.cancel);
    if (batch.status === "cancelled" && !batch.readOnly) button("Try again", acts.tryAgain);
    else if (batch.failedImages && !batch.readOnly) button(`Retry ${batch.failedImages} failed`, acts.retry);
    if (!isActive(batch) && !batch.readOnly) button("Delete", acts.remove);
    const looks = made.map((one) => one.textContent).join();
    if (this.buttons.dataset.looks === looks) return;
    this.buttons.dataset.looks = looks;
    this.buttons.replaceChildren(...made);
  }
}

/** @param {number} count */
const safe = (count) => `${counted(count, "finished image")} ${count === 1 ? "is" : "are"} safe.`;

/** Have exactly these children in this order; those that are right where they are stay. @param {Element} list @param {Element[]} wanted */
export function arrange(list, wanted) {
  wanted.forEach((one, at) => {
    if (list.children[at] !== one) list.insertBefore(one, list.children[at] ?? null);
  });
  while (list.children.length > wanted.length) list.lastElementChild?.remove();
}
