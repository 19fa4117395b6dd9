/** Recipes and output directories that a burst could not use: which items wait for them, why, and the way out. */

import { make } from "./dom.js";
import { counted } from "./words.js";

const BATCHES_SHOWN = 5;

/**
 * One entry of a list.
 * @param {any} one
 * @param {{linked: boolean}} options whether its batches are named, each with a link
 */
export function unusable(one, { linked }) {
  const heading = make("p", {}, make("strong", {}, one.workflow), ` · ${counted(one.items, "item")}`);
  if (linked && one.batches.length) {
    heading.append(one.batches.length === 1 ? " of batch " : " of batches ", ...links(one.batches));
  }
  const reason = make("p", { className: "bad" }, one.reason);
  const next = one.output
    ? make("p", { className: "small" }, "Finished images are safe; the others continue within a minute after that.")
    : make("p", { className: "small" }, "Fix that, or give the items another recipe: ", make("code", {}, one.next));
  return make("li", {}, make("div", {}, heading, reason, next));
}

/** What a list of them is called. @param {any[]} recipes */
export const titleOfUnusable = (recipes) =>
  recipes.length && recipes.every(({ output }) => output)
    ? "Images cannot be saved"
    : "Set aside: the last burst could not use the recipe";

/**
 * A message, unless it tells again what a recipe set aside tells already.
 * @param {string | null} message
 * @param {any[]} setAside
 */
export const beyond = (message, setAside) => (setAside.some(({ reason }) => message?.includes(reason)) ? "" : (message ?? ""));

/** @param {any[]} batches */
function links(batches) {
  const shown = batches.slice(0, BATCHES_SHOWN).flatMap(({ batchId, name }) => [
    make("a", { href: `/?${new URLSearchParams({ batch: batchId })}` }, name ?? batchId),
    ", ",
  ]);
  const more = batches.length - BATCHES_SHOWN;
  return more > 0 ? [...shown, `and ${more} more`] : shown.slice(0, -1);
}
