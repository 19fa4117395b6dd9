/** From the fields to what is sent, and from the API's words to those of the page. */

import { byId } from "../dom.js";

const WORDS = ["sampler", "scheduler", "profile", "negative"];
const NUMBERS = ["steps", "cfg", "width", "height"];

/**
 * What was chosen, by the API's names. What was not is not there: the template or the profile decides.
 * @param {import("./form.js").BatchForm} form
 */
export function requestOf(form) {
  const isRandom = byId("randomize").checked;
  const baseSeed = byId("baseSeed").value.trim();
  const template = form.options.template;
  return {
    prompt: form.table.kept ? "" : byId("prompt").value,
    batchCount: Number(byId("batchCount").value),
    seedMode: isRandom ? "random" : "incremental",
    ...(baseSeed && !isRandom ? { baseSeed } : {}),
    ...chosen(["model"], (text) => text.trim()),
    baseParameters: { ...chosen(NUMBERS, Number), ...chosen(WORDS, String), ...(template ? { template } : {}) },
    ...more(form),
  };
}

/** What goes beyond the contract of the seed. @param {import("./form.js").BatchForm} form */
function more(form) {
  const loras = form.options.takes("lora") ? form.loras.chosen : [];
  const axes = form.axes.chosen;
  return {
    ...(byId("severalPrompts").checked && !form.table.kept ? { severalPrompts: true } : {}),
    ...(byId("dynamic").checked ? { dynamic: true } : {}),
    ...(form.table.kept ? { table: form.table.kept.table } : {}),
    ...(loras.length ? { loras } : {}),
    ...(axes.length ? { axes } : {}),
  };
}

/** @param {string[]} names @param {(text: string) => any} kind */
function chosen(names, kind) {
  const said = names.filter((name) => !byId(name).disabled && byId(name).value.trim() !== "");
  return Object.fromEntries(said.map((name) => [name, kind(byId(name).value)]));
}

/** How the fields of the API are called on the page. @type {[RegExp, string][]} */
const NAMES = [
  [/\bbatchCount\b/g, "the number of images"],
  [/\bseedMode "random"/g, "“Randomize seeds”"],
  [/\bseedMode\b/g, "“Randomize seeds”"],
  [/\bdynamic false\b/g, "“Expand” unchecked"],
  [/\bbaseSeed\b/g, "the base seed"],
  [/\bseveralPrompts\b/g, "“One prompt per line”"],
];

/** @param {string} message of the API */
export const inPageWords = (message) => NAMES.reduce((text, [name, word]) => text.replace(name, word), message);
