/** One picture large, with all that is known of it. */

import { deleteImage, imageDetails } from "../api.js";
import { confirmed } from "../confirm.js";
import { byId, make, say } from "../dom.js";
import { Place } from "../place.js";
import { keyOfImage, player, shown, when } from "../gallery/tiles.js";

const dialog = byId("viewer");
const PATIENCE_MILLISECONDS = 15_000;
const ORDER = ["steps", "cfg", "sampler", "scheduler"];

/** The dialog, over the pictures of a list. */
export class Viewer {
  /**
   * @param {{items: () => any[], more: () => Promise<void>, gone: (image: any, done: any) => void, left: (image: any) => void,
   *   failed: (error: unknown) => void}} told
   *   `more`: fetch what comes after the last. `gone`: a picture was deleted, by what the API answered. `left`: the dialog is closed. `failed`: an
   *   image that the address names cannot be shown.
   */
  constructor(told) {
    this.told = told;
    /** @type {any} */
    this.image = null;
    this.asking = new AbortController();
    this.place = new Place("image", {
      open: (value) => this.#openKey(value),
      close: () => dialog.close(),
    });
    byId("previous").addEventListener("click", () => this.#go(-1));
    byId("next").addEventListener("click", () => this.#go(1));
    byId("viewer-close").addEventListener("click", () => dialog.close());
    byId("viewer-delete").addEventListener("click", () => this.#delete());
    byId("copy-prompt").addEventListener("click", () => copy(this.image.prompt, "Prompt copied"));
    byId("copy-command").addEventListener("click", () => copy(byId("viewer-command").textContent, "Command copied"));
    dialog.addEventListener("keydown", (/** @type {KeyboardEvent} */ event) => this.#key(event));
    dialog.addEventListener("click", (/** @type {Event} */ event) => {
      // Only the backdrop is the dialog itself: what is on it is in a box of its own.
      if (event.target === dialog) dialog.close();
    });
    dialog.addEventListener("close", () => {
      this.asking.abort();
      this.place.leave();
      byId("viewer-player").replaceChildren();
      this.told.left(this.image);
    });
  }

  /** @param {any} image */
  open(image) {
    this.#show(image);
    if (!dialog.open) dialog.showModal();
    byId("viewer-close").focus();
  }

  /** One of the list, or else one that is fetched by its ids. @param {string} key */
  async #openKey(key) {
    const known = this.told.items().find((item) => keyOfImage(item) === key);
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

  /** @param {any} image */
  async #show(image) {
    this.image = image;
    this.place.enter(keyOfImage(image));
    this.asking.abort();
    this.asking = new AbortController();
    say(byId("viewer-title"), `Image ${image.image} · ${image.batchName ?? image.batchId}`);
    const link = byId("viewer-picture");
    const plays = player(image);
    link.hidden = Boolean(plays);
    link.href = image.url;
    link.replaceChildren(plays ? "" : shown(image, image.kind === "image" ? image.thumbnail && image.url : image.thumbnail, "eager"));
    byId("viewer-player").hidden = !plays;
    byId("viewer-player").replaceChildren(...(plays ? [plays] : []));
    say(byId("viewer-prompt"), image.prompt || "No prompt is known");
    say(byId("viewer-status"), "");
    byId("copy-prompt").hidden = !image.prompt;
    byId("viewer-batch").href = `/?${new URLSearchParams({ batch: image.batchId })}`;
    byId("viewer-batch").hidden = byId("viewer-delete").hidden = image.readOnly;
    byId("viewer-download").href = `${image.url}${image.url.includes("?") ? "&" : "?"}download=1`;
    const items = this.told.items().map(keyOfImage);
    const isListed = items.includes(keyOfImage(image));
    byId("previous").disabled = !isListed || items[0] === keyOfImage(image);
    byId("next").disabled = !isListed || items.at(-1) === keyOfImage(image);
    tell(image);
    try {
      tell(await imageDetails(image.batchId, image.image, this.asking.signal));
    } catch (error) {
      if (this.image === image && dialog.open && error instanceof Error) say(byId("viewer-status"), error.message);
    }
  }

  /** @param {number} step */
  async #go(step) {
    const items = this.told.items();
    const here = items.findIndex((item) => keyOfImage(item) === keyOfImage(this.image));
    const at = here + step;
    if (here < 0 || !items[at]) return;
    if (at >= items.length - 2) this.told.more();
    this.#show(items[at]);
  }

  async #delete() {
    const { image } = this;
    const items = this.told.items();
    const at = items.findIndex((item) => keyOfImage(item) === keyOfImage(image));
    const next = items[at + 1] ?? items[at - 1];
    const text = `${image.file} goes to the trash, from which it can be brought back for 30 days. It is not made again.`;
    const done = await confirmed("Delete this image?", text, () => deleteImage(image));
    if (!done) return;
    this.told.gone(image, done);
    if (next) this.#show(next);
    else dialog.close();
  }

  /** @param {KeyboardEvent} event */
  #key(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    // In a player these keys go back and forth in what it plays.
    if (/** @type {HTMLElement} */ (event.target).matches("video, audio") && event.key !== "Delete") return;
    if (event.key === "ArrowLeft") this.#go(-1);
    else if (event.key === "ArrowRight") this.#go(1);
    else if (event.key === "Delete" && !byId("viewer-delete").hidden) this.#delete();
    else return;
    event.preventDefault();
  }
}

/** What is known of a picture: that of the list first, then all of it. @param {any} image */
function tell(image) {
  const { width, height, model, negative, ...others } = image.parameters;
  const size = image.width ? [image.width, image.height] : [width, height];
  const named = { ...Object.fromEntries(ORDER.map((name) => [name, others[name]])), ...others };
  /** @type {[string, any][]} */
  const facts = [
    ["seed", image.seed],
    ["model", image.model ?? model],
    ["length", image.length ? `${image.length.toFixed(1)} s` : null],
    ["size", size[0] && size[1] ? `${size[0]} × ${size[1]}` : null],
    ...Object.entries(named),
    ["negative", negative],
    ["template", image.template],
    ["made", when(image.completedAt)],
    ["on the server", image.seconds === null ? null : `${image.seconds.toFixed(1)} s`],
    ["server", image.server],
    ["file", image.path ?? image.file],
  ];
  const known = facts.filter(([, value]) => value !== undefined && value !== null && value !== "");
  byId("viewer-parameters").replaceChildren(
    ...known.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, String(value)))),
  );
  say(byId("viewer-command"), image.command ?? "");
  byId("viewer-again").hidden = byId("copy-command").hidden = !image.command;
}

/** @param {string} text @param {string} done */
async function copy(text, done) {
  try {
    // Only what comes from this machine, or by TLS, may use the clipboard.
    await navigator.clipboard.writeText(text);
    say(byId("viewer-status"), done);
  } catch {
    say(byId("viewer-status"), "This browser does not let a page copy: select the text and copy it");
  }
}

