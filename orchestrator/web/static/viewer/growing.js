/** An image of a list grows into the viewer, unless the reader prefers little motion. */

const MILLISECONDS = 160;

/** @param {Iterable<Element>} all @returns {Element | undefined} */
const seen = (all) => [...all].find((one) => one.checkVisibility());

/** Where the image of a list that goes by this key is seen. @param {string} key @returns {DOMRect | undefined} */
export const placeOf = (key) =>
  seen(document.querySelectorAll(`[data-image="${CSS.escape(key)}"] :is(img, .thumbnail)`))?.getBoundingClientRect();

/**
 * One layer moves: a view transition takes both views whole, 30 to 60 ms a frame without a graphics card.
 * @param {HTMLElement} element @param {DOMRect | undefined} from
 */
export function grow(element, from) {
  const to = element.getBoundingClientRect();
  if (!from?.width || !to.width || matchMedia("(prefers-reduced-motion: reduce)").matches) return;
  const scale = Math.max(from.width / to.width, from.height / to.height);
  const [x, y] = [middle(from.x, from.width) - middle(to.x, to.width), middle(from.y, from.height) - middle(to.y, to.height)];
  element.animate({ transform: [`translate(${x}px, ${y}px) scale(${scale})`, "none"] }, { duration: MILLISECONDS, easing: "ease-out" });
}

/** @param {number} start @param {number} length */
const middle = (start, length) => start + length / 2;
