/** An image of a list grows into the viewer, and shrinks back to its place, where the browser shows that. */

import { byId } from "../dom.js";
import { turn } from "../turn.js";

/** @param {Iterable<Element>} all @returns {HTMLElement | undefined} */
const seen = (all) => /** @type {HTMLElement | undefined} */ ([...all].find((one) => one.checkVisibility()));
/** @param {string} key */
const small = (key) => seen(document.querySelectorAll(`[data-image="${CSS.escape(key)}"] :is(img, .thumbnail)`));
const large = () => seen(byId("viewer-picture").querySelectorAll("img"));

/** @param {string} key of the image @param {() => void} open */
export const grow = (key, open) => between(() => small(key), large, open);

/** @param {string} key of the image @param {() => void} close */
export const shrink = (key, close) => between(large, () => small(key), close);

/** @param {() => HTMLElement | undefined} before @param {() => HTMLElement | undefined} after @param {() => void} change */
async function between(before, after, change) {
  const from = before();
  if (!from) {
    change();
    return;
  }
  name(from, "image");
  await turn(() => {
    name(from, "");
    change();
    name(after(), "image");
  });
  name(after(), "");
}

/** @param {HTMLElement | undefined} element @param {string} name */
function name(element, name) {
  if (element) element.style.viewTransitionName = name;
}
