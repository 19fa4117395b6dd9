/** What is known of an image: its prompt, its settings, and the command that makes it again. */

import { asJson } from "../api.js";
import { byId, make, say } from "../dom.js";
import { when } from "../gallery/tiles.js";
import { bytes } from "../words.js";
import { copyButton } from "./copying.js";

const ORDER = ["steps", "cfg", "sampler", "scheduler"];
const COPIED = ["seed", "negative"];

/** The list and its buttons. */
export class Facts {
  /** @param {(said: string) => void} tell */
  constructor(tell) {
    this.tell = tell;
    /** @type {any} */
    this.image = null;
    const text = (/** @type {string} */ id) => () => byId(id).textContent;
    byId("viewer-prompt-head").append(copyButton("prompt", text("viewer-prompt"), tell));
    byId("viewer-again-head").append(copyButton("command", text("viewer-command"), tell));
    const all = copyButton("everything as JSON", () => asJson(this.image), tell);
    all.append("Copy all as JSON");
    all.removeAttribute("aria-label");
    all.id = "copy-json";
    byId("viewer-json").append(all);
  }

  /** That of the list first, then all of it. @param {any} image */
  show(image) {
    this.image = image;
    say(byId("viewer-prompt"), image.prompt || "No prompt is known");
    byId("viewer-prompt-head").querySelector("button").hidden = !image.prompt;
    byId("viewer-parameters").replaceChildren(...this.#rows(image));
    say(byId("viewer-command"), image.command ?? "");
    byId("viewer-again").hidden = !image.command;
    byId("viewer-json").hidden = image.path === undefined;
  }

  /** @param {any} image */
  #rows(image) {
    const known = facts(image).filter(([, value]) => value !== undefined && value !== null && value !== "");
    return known.map(([name, value]) => {
      const text = String(value);
      const more = COPIED.includes(name) ? [copyButton(name, () => text, this.tell)] : [];
      return make("div", {}, make("dt", {}, name), make("dd", {}, text, ...more));
    });
  }
}

/** @param {any} image @returns {[string, any][]} */
function facts(image) {
  const { width, height, model, negative, ...others } = image.parameters ?? {};
  const size = image.width ? [image.width, image.height] : [width, height];
  const named = { ...Object.fromEntries(ORDER.map((name) => [name, others[name]])), ...others };
  return [
    ["differs", (image.differs ?? []).join(" · ")],
    ["seed", image.seed],
    ["model", image.model ?? model],
    ["length", image.length ? `${image.length.toFixed(1)} s` : null],
    ["size", size[0] && size[1] ? `${size[0]} × ${size[1]}` : null],
    ...Object.entries(named).map(([name, value]) => /** @type {[string, any]} */ ([name.replaceAll("_", " "), plain(value)])),
    ["negative", negative],
    ["template", image.template],
    ["made", image.completedAt && when(image.completedAt)],
    ["on the server", image.seconds === null || image.seconds === undefined ? null : `${image.seconds.toFixed(1)} s`],
    ["server", image.server],
    ["file", image.path ?? image.file],
    ["file size", image.bytes === undefined ? null : bytes(image.bytes)],
  ];
}

/** @param {any} value */
const plain = (value) => (value !== null && typeof value === "object" ? JSON.stringify(value) : value);
