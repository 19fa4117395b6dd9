/**
 * The one place where a change of images is told: a star, a tag, a deletion, an undo, whoever made it in whichever tab of
 * this browser. `api.js` tells what the server confirmed; whatever holds images hears it here and patches what it holds.
 * What a list brings later is the server's word and newer than all of this, so nothing is remembered.
 */

/**
 * @typedef {object} Change
 * @property {{batchId: string, image: string, favorite: boolean, tags: string[]}[]} [marks] how these are marked now
 * @property {{batchId: string, image: string}[]} [gone] these are in the trash
 * @property {boolean} [again] something came or went that is not named: look again
 */

/** @typedef {(change: Change, isElsewhere: boolean) => void} Hearer `isElsewhere`: it was made in another tab */

/** @type {Hearer[]} */
const hearers = [];
const channel = new BroadcastChannel("burst-images");
channel.addEventListener("message", ({ data }) => tell(data, true));

/** @param {Hearer} hearer */
export const hearImages = (hearer) => void hearers.push(hearer);

/** What was done here just now, to all of this page and to every other tab. @param {Change} change */
export function tellImages(change) {
  tell(change, false);
  channel.postMessage(change);
}

/** @param {Change} change @param {boolean} isElsewhere */
function tell(change, isElsewhere) {
  for (const hearer of hearers) hearer(change, isElsewhere);
}

/** What an image goes by. @param {{batchId: string, image: string}} image */
export const keyOfImage = ({ batchId, image }) => `${batchId}/${image}`;

/**
 * Images as a change leaves them: without those that are gone, with the marks that they have now. The same list, where
 * it is about none of them.
 * @param {any[]} images @param {Change} change @param {string} [batchId] of all of them, where they do not say
 * @returns {any[]}
 */
export function changed(images, { marks = [], gone = [] }, batchId) {
  const [now, left] = [new Map(marks.map((one) => [keyOfImage(one), one])), new Set(gone.map(keyOfImage))];
  const key = (/** @type {any} */ image) => keyOfImage({ batchId: batchId ?? image.batchId, image: image.image });
  if (!images.some((image) => now.has(key(image)) || left.has(key(image)))) return images;
  return images
    .filter((image) => !left.has(key(image)))
    .map((image) => {
      const mark = now.get(key(image));
      return mark ? { ...image, favorite: mark.favorite, tags: mark.tags } : image;
    });
}
