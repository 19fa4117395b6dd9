/**
 * A small image of a list, drawn on a canvas while it is near what is seen.
 *
 * Chromium keeps the last 1,000 images that it decoded, 0.4 MB each, whether their elements are still there or not, until
 * it is told that memory is short. A canvas has what it shows, at the size in which it is shown, and nothing stays of it.
 */

import { make } from "./dom.js";

/** How far from what is seen an image is still drawn. */
const MARGIN = "25%";
/** In a window of another size tiles are larger: by so much they are drawn again. */
const GROWN = 1.2;
const PAUSE_MILLISECONDS = 300;
let pause = 0;

/** Those that have all pixels of their image. @type {WeakSet<Element>} */
const wholes = new WeakSet();
/** What is being fetched, by canvas. @type {WeakMap<Element, AbortController>} */
const fetching = new WeakMap();
/** Those with an image. @type {Set<HTMLCanvasElement>} */
const drawn = new Set();
/** Where the image of a canvas is. @type {WeakMap<Element, string>} */
const addresses = new WeakMap();
/** How large canvases are, as far as it was told: to ask for that lays the page out. @type {WeakMap<Element, DOMRectReadOnly>} */
let sizes = new WeakMap();

const near = new IntersectionObserver(
  (seen) => {
    for (const { target, isIntersecting, boundingClientRect } of seen) {
      const canvas = /** @type {HTMLCanvasElement} */ (target);
      sizes.set(canvas, boundingClientRect);
      if (isIntersecting) draw(canvas);
      // What is only hidden with all around it comes back as it was.
      else if (!canvas.isConnected || boundingClientRect.width) clear(canvas);
    }
  },
  { rootMargin: MARGIN },
);

/**
 * Tells `load` once it is drawn, and `error` where it cannot be.
 * @param {string} address @param {string} alt @returns {HTMLCanvasElement}
 */
export function thumbnail(address, alt) {
  const canvas = make("canvas", { width: 0, height: 0, className: "thumbnail", role: "img", "aria-label": alt });
  addresses.set(canvas, address);
  near.observe(canvas);
  return canvas;
}

/** @param {HTMLCanvasElement} canvas */
async function draw(canvas) {
  if (fetching.has(canvas) || (drawn.has(canvas) && !isOutgrown(canvas))) return;
  const asking = new AbortController();
  fetching.set(canvas, asking);
  try {
    const answer = await fetch(addresses.get(canvas) ?? "", { signal: asking.signal, priority: "low" });
    if (!answer.ok) throw new Error(`status ${answer.status}`);
    const bitmap = await createImageBitmap(await answer.blob());
    if (!asking.signal.aborted) put(canvas, bitmap);
    bitmap.close();
  } catch {
    if (!asking.signal.aborted) canvas.dispatchEvent(new Event("error"));
  } finally {
    if (fetching.get(canvas) === asking) fetching.delete(canvas);
  }
}

/** As large as it is shown, no larger. @param {HTMLCanvasElement} canvas @param {ImageBitmap} bitmap */
function put(canvas, bitmap) {
  const { width, height } = sizes.get(canvas) ?? canvas.getBoundingClientRect();
  const wanted = Math.max(width / bitmap.width, height / bitmap.height) * devicePixelRatio;
  const scale = wanted > 0 ? Math.min(1, wanted) : 1;
  if (scale === 1) wholes.add(canvas);
  else wholes.delete(canvas);
  canvas.width = Math.max(1, Math.round(bitmap.width * scale));
  canvas.height = Math.max(1, Math.round(bitmap.height * scale));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  if (!context) return;
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, canvas.width, canvas.height);
  drawn.add(canvas);
  canvas.dispatchEvent(new Event("load"));
}

/** @param {HTMLCanvasElement} canvas */
function clear(canvas) {
  fetching.get(canvas)?.abort();
  fetching.delete(canvas);
  drawn.delete(canvas);
  canvas.width = canvas.height = 0;
}

/** Whether it is shown clearly larger than it was when it was drawn, and its image has more. @param {HTMLCanvasElement} canvas */
function isOutgrown(canvas) {
  return !wholes.has(canvas) && canvas.getBoundingClientRect().width * devicePixelRatio > GROWN * canvas.width;
}

addEventListener("resize", () => {
  sizes = new WeakMap();
  clearTimeout(pause);
  pause = setTimeout(() => drawn.forEach(draw), PAUSE_MILLISECONDS);
});
