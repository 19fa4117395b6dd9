/** Numbers and names as words. Pure. */

/**
 * How long, roughly: `12 s`, `4 min`, `2 h`.
 * @param {number} seconds
 */
export function duration(seconds) {
  if (seconds < 90) return `${Math.max(1, Math.ceil(seconds))} s`;
  const minutes = Math.ceil(seconds / 60);
  return minutes < 90 ? `${minutes} min` : `${Math.round(minutes / 60)} h`;
}

const LETTERS = new Intl.Segmenter();

/** How many letters a text has, as people count them: an emoji is one. @param {string} text */
export const letters = (text) => [...LETTERS.segment(text)].length;

/** @param {number} count @param {string} noun */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/**
 * What a batch is called: the name that it was given, and its prompt, else its id.
 * @param {{name: string | null, prompt: string, batchId: string}} batch
 */
export const titleOf = ({ name, prompt, batchId }) => [name, prompt].filter(Boolean).join(" · ") || batchId;

/** @param {{image: string}} image */
export const nameOf = (image) => `Image ${image.image}`;

/** How many failed: of a large batch, `failedImages` are the first ones. @param {any} answer of the progress call */
export const failedCount = ({ failedTotal, progress }) => failedTotal ?? progress.failedImages.length;

/**
 * How a batch ended: `Batch complete: 4 successful, 1 failed`.
 * @param {{completedImages: number, totalImages: number, status: string}} progress
 * @param {number} failed
 */
export function summary({ completedImages, totalImages, status }, failed) {
  const left = totalImages - completedImages - failed;
  return `Batch ${status}: ${completedImages} successful, ${failed} failed${left ? `, ${left} not made` : ""}`;
}

const SHOWN = ["model", "steps", "cfg", "sampler", "scheduler", "width", "height", "template", "profile", "negative"];

/**
 * What a batch was made with, in one line: what was asked for, then the defaults.
 * @param {Record<string, any>} asked
 * @param {Record<string, any>} effective
 */
export function parametersLine(asked, effective) {
  const { negative, ...others } = effective;
  const defaults = Object.fromEntries(Object.entries(others).filter(([name]) => !(name in asked)));
  const chosen = line(asked);
  const rest = line(defaults);
  return [chosen, rest && `${chosen ? "default" : "Default"}: ${rest}`].filter(Boolean).join(" · ");
}

/** @param {Record<string, any>} parameters */
function line(parameters) {
  const { width, height, ...others } = parameters;
  const size = width && height ? { size: `${width} × ${height}` } : {};
  const said = { ...(width && height ? others : parameters), ...size };
  return [...SHOWN, "size"]
    .filter((name) => said[name] !== undefined && said[name] !== null && said[name] !== "")
    .map((name) => `${name} ${said[name]}`)
    .join(" · ");
}
