/** What is done with the images that are chosen: the bar below them. */

import { deleteImages, markFavorites, prepareDownload, restoreImages } from "../api.js";
import { byId, make, say } from "../dom.js";
import { keyOfImage } from "../image_changes.js";
import { offerUndo } from "../undo.js";
import { bytes, counted } from "../words.js";
import { MOST } from "../viewer/compare.js";
import { stageImages } from "./staging.js";
import { tagImages } from "./tagging.js";

/** So many files that stay are named. */
const SAID_FILES = 3;

/**
 * @typedef {object} Parts
 * @property {import("./selection.js").Selection} selection
 * @property {(images: any[]) => void} compare
 * @property {() => Promise<void>} reload what is shown has changed
 */

/** The bar, which is there while anything is chosen. */
export class Acts {
  /** @param {Parts} parts */
  constructor(parts) {
    this.parts = parts;
    this.bar = byId("chosen");
    const acts = {
      "chosen-favorite": () => this.favorite(),
      "chosen-tag": () => this.tag(),
      "chosen-download": () => this.download(),
      "chosen-compare": () => this.parts.compare(this.#images()),
      "chosen-stage": () => this.stage(),
      "chosen-delete": () => this.remove(),
      "chosen-clear": async () => this.parts.selection.clear(),
    };
    for (const [id, act] of Object.entries(acts)) byId(id).addEventListener("click", () => this.#do(act));
  }

  /** Show what is chosen. */
  show() {
    const { size } = this.parts.selection;
    this.bar.hidden = !size;
    say(byId("chosen-count"), size ? `${size.toLocaleString()} chosen` : "");
    byId("chosen-compare").disabled = size < 2 || size > MOST;
    const images = this.#images();
    const isAll = images.length > 0 && images.every((image) => image.favorite);
    byId("chosen-favorite").ariaPressed = String(isAll);
    const canMark = images.some((image) => !image.readOnly);
    for (const name of ["favorite", "tag", "stage", "delete"]) byId(`chosen-${name}`).disabled = !canMark;
  }

  /** Favorites all; or none, where all are. */
  async favorite() {
    const isAll = byId("chosen-favorite").ariaPressed === "true";
    const done = await markFavorites(this.parts.selection.refs, !isAll);
    this.#said(done, isAll ? "no favorites any more" : "favorites");
  }

  async tag() {
    const { refs } = this.parts.selection;
    const done = await tagImages(this.#images(), refs);
    if (!done) return;
    // All images of a prompt have its tags, and others of these may be in sight.
    await this.parts.reload();
    this.#said(done, "tagged");
  }

  async download() {
    this.#say("Preparing the download…");
    const { refs } = this.parts.selection;
    const done = await prepareDownload(refs);
    const link = make("a", { href: done.url, download: "" });
    link.click();
    this.#said(done, `in the download${done.bytes ? ` (${bytes(done.bytes)})` : ""}`, done.images);
  }

  async stage() {
    const started = await stageImages(this.parts.selection.refs);
    if (!started) return;
    this.#say(`${counted(started.queuedImages, "image")} queued. `);
    const address = `/?${new URLSearchParams({ batch: started.batchId })}`;
    byId("chosen-status").append(make("a", { href: address }, "Show the batch"));
  }

  async remove() {
    const { selection } = this.parts;
    const { refs } = selection;
    this.#say("Deleting…");
    const done = await deleteImages(refs);
    const stays = new Set(done.readOnly.map(keyOfImage));
    selection.drop(refs.filter((ref) => !stays.has(keyOfImage(ref))));
    await this.parts.reload();
    const more = done.kept.length > SAID_FILES ? ` and ${done.kept.length - SAID_FILES} more` : "";
    const kept = done.kept.length ? ` These stay: ${done.kept.slice(0, SAID_FILES).join("; ")}${more}.` : "";
    const readOnly = done.readOnly.length ? ` ${counted(done.readOnly.length, "image")} of batches that no state knows stay.` : "";
    this.#say("");
    const text = `${counted(done.deleted, "image")} in the trash.${kept}${readOnly}`;
    if (done.undo.some((/** @type {any} */ one) => one.trash.length)) offerUndo(text, () => this.#bringBack(done));
    else this.#say(text);
  }

  /** @param {any} done what the API answered to the deletion */
  async #bringBack(done) {
    let count = 0;
    const kept = [];
    for (const { state, trash } of done.undo) {
      if (!trash.length) continue;
      const back = await restoreImages(state, trash);
      count += back.restored.length;
      kept.push(...back.kept);
    }
    await this.parts.reload();
    return kept.length ? kept.join("; ") : `${counted(count, "file")} restored.`;
  }

  #images() {
    return [...this.parts.selection.chosen.values()];
  }

  /** @param {() => Promise<void> | void} act */
  async #do(act) {
    try {
      await act();
    } catch (error) {
      this.#say(error instanceof Error ? error.message : String(error));
    }
  }

  /** @param {any} done @param {string} what @param {number} [count] */
  #said(done, what, count = done.images.length) {
    const missing = done.missing.length ? `; ${done.missing.length} are gone` : "";
    const readOnly = done.readOnly?.length ? `; ${done.readOnly.length} are of batches that no state knows` : "";
    this.#say(`${counted(count, "image")} ${what}${missing}${readOnly}.`);
  }

  /** @param {string} text */
  #say(text) {
    say(byId("chosen-status"), text);
  }
}
