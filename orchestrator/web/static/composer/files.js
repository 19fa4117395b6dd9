/** Files that are dropped on the form or chosen: each goes where it belongs, or it is said why none is. */

import { Away, Refused, settingsIn, uploadTable } from "../api.js";
import { byId } from "../dom.js";
import { filesOf } from "./dropped.js";

const LARGEST_TEXT_BYTES = 2 ** 20;
const LARGEST_TABLE_BYTES = 8 * 2 ** 20;
const IMAGES = ["image/png", "image/jpeg", "image/webp", "image/gif"];

/** A name's ending, in small letters. @param {File} file */
const ending = (file) => file.name.split(".").at(-1)?.toLowerCase() ?? "";

/** @param {File} file */
const isImage = (file) => IMAGES.includes(file.type) || ["png", "jpg", "jpeg", "webp", "gif"].includes(ending(file));

/** Takes files for the form. */
export class Files {
  /** @param {import("./form.js").BatchForm} form */
  constructor(form) {
    this.form = form;
    const input = byId("file");
    input.addEventListener("input", (/** @type {Event} */ event) => event.stopPropagation());
    input.addEventListener("change", () => {
      this.take([...input.files]);
      input.value = "";
    });
    this.#zone(form.form, (files) => this.take(files));
    this.#zone(form.image.place, (files) => this.#images(files.filter(isImage)));
  }

  /** @param {File[]} files */
  async take(files) {
    this.#say("");
    const images = files.filter(isImage);
    const [first] = files;
    if (!first) return;
    if (images.length > 1 || (images.length && images.length < files.length)) return this.#images(images);
    if (images.length) return this.#picture(first);
    if (files.length > 1) return this.#say("Several files at once are images; choose one list or table");
    if (ending(first) === "txt") return this.#prompts(first);
    if (["csv", "tsv", "xlsx"].includes(ending(first))) return this.#table(first);
    return this.#say(`${first.name}: this kind of file is not read here; choose a .txt, .csv, .xlsx, or images`);
  }

  /** @param {File} file */
  async #prompts(file) {
    if (file.size > LARGEST_TEXT_BYTES) return this.#say(`${file.name} is over 1 MiB; use burst generate for such a list`);
    const text = (await file.text()).replace(/^\ufeff/, "").replace(/\r\n?/g, "\n").trim();
    if (/\0|\ufffd/.test(text)) return this.#say(`${file.name} is not a text in UTF-8; save it so`);
    if (!text) return this.#say(`${file.name} is empty`);
    this.form.fill.apply({ prompt: text, severalPrompts: text.includes("\n"), tableKept: "" }, `Filled with the prompts of ${file.name}`);
  }

  /** @param {File} file */
  async #table(file) {
    if (file.size > LARGEST_TABLE_BYTES) return this.#say(`${file.name} is over 8 MiB; use burst generate for such a table`);
    const { template } = this.form.options;
    await this.#trying(async () => {
      const asked = { state: String(this.form.state), ...(template ? { template } : {}) };
      const table = await uploadTable(file, asked);
      this.form.fill.apply({ tableKept: JSON.stringify({ ...table, name: file.name }) }, `Prompts come from ${file.name}`);
    }, file.name);
  }

  /** One image: its settings, or the image itself where it has none and the template takes one. @param {File} file */
  async #picture(file) {
    await this.#trying(async () => {
      try {
        this.form.fill.settings(await settingsIn(file), `Filled with the settings of ${file.name}`);
      } catch (error) {
        if (!(error instanceof Refused && this.form.image.isAllowed)) throw error;
        this.#images([file]);
      }
    }, file.name);
  }

  /** @param {File[]} files */
  #images(files) {
    this.#say("");
    if (!files.length) return this.#say("There is no PNG, JPEG, WebP or GIF image among these files");
    if (!this.form.image.isAllowed) {
      return this.#say("This template takes no image; choose one that does, such as img2img, and drop them again");
    }
    this.form.image.set(files);
    this.form.markOne("image", this.form.image.wrong);
  }

  /** @param {() => Promise<void>} act @param {string} name */
  async #trying(act, name) {
    try {
      await act();
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      this.#say(error instanceof Away ? message : `${name}: ${message}`);
    }
  }

  /** @param {string} message */
  #say(message) {
    this.form.markOne("file", message);
  }

  /** @param {HTMLElement} place @param {(files: File[]) => void} take */
  #zone(place, take) {
    const over = (/** @type {boolean} */ is) => place.classList.toggle("over", is);
    place.addEventListener("dragover", (event) => {
      if (!event.dataTransfer?.types.includes("Files")) return;
      event.preventDefault();
      event.stopPropagation();
      over(true);
    });
    place.addEventListener("dragleave", () => over(false));
    place.addEventListener("drop", async (event) => {
      over(false);
      if (!event.dataTransfer?.files.length) return;
      event.preventDefault();
      event.stopPropagation();
      take(await filesOf(event.dataTransfer));
    });
  }
}
