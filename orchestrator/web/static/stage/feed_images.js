/** The images of the feed, as the viewer goes through them: those of the batches around one. Pure. */

import { listed } from "../viewer/viewer.js";

/** So many before and after one, at the least where there are so many. */
const AROUND = 120;

/** @typedef {import("./folding.js").Place} Place */

/** @param {Place[]} order @param {number} at the place of a batch; -1 where it is none @returns {import("../viewer/viewer.js").Some} */
export function imagesAround(order, at) {
  const [from, to] = known(order, at);
  const items = order.slice(from, to).flatMap(({ batch }) => {
    const about = { batchId: batch.batchId, batchName: batch.name, prompt: batch.prompt, readOnly: batch.readOnly };
    return batch.images.map((/** @type {any} */ image) => listed(about, image));
  });
  return { items, first: countIn(order.slice(0, from)), total: countIn(order) };
}

/** From where to where batches have their images in mind. @param {Place[]} order @param {number} at @returns {[number, number]} */
export function known(order, at) {
  if (at < 0) return [0, 0];
  let [from, to] = [at, at + 1];
  for (let count = 0; count < AROUND && from > 0 && !order[from - 1].isForgotten; count += order[from].count) from -= 1;
  for (let count = 0; count < AROUND && to < order.length && !order[to].isForgotten; count += order[to - 1].count) to += 1;
  return [from, to];
}

/** @param {Place[]} places */
const countIn = (places) => places.reduce((count, place) => count + place.count, 0);
