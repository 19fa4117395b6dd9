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

/** @type {Record<string, string>} */
const STANDINGS = { queued: "Queued", generating: "Rendering", complete: "Complete", failed: "Failed", cancelled: "Cancelled" };

/** How a batch stands, for people. @param {string} status of the API */
export const standing = (status) => STANDINGS[status] ?? status;

/** @type {Record<string, string>} */
const MISSING = { pending: "Queued", submitted: "Queued", failed: "✕ Failed", cancelled: "Cancelled" };

/** What stands in the place of an image that is not there. @param {string} status of its item */
export const missingWord = (status) => MISSING[status] ?? "No image";

/** Made where it is needed: that takes longer than a page's own start. @type {Intl.Segmenter | null} */
let segmenter = null;

/** How many letters a text has, as people count them: an emoji is one. @param {string} text */
export function letters(text) {
  if (/^[ -~\n]*$/.test(text)) return text.length;
  segmenter ??= new Intl.Segmenter();
  return [...segmenter.segment(text)].length;
}

/** `12.3 GB`. @param {number} count */
export function bytes(count) {
  const power = Math.min(4, Math.max(0, Math.floor(Math.log10(Math.max(count, 1)) / 3)));
  return `${(count / 1000 ** power).toFixed(power && count / 1000 ** power < 100 ? 1 : 0)} ${["B", "kB", "MB", "GB", "TB"][power]}`;
}

/** @param {number} count @param {string} noun */
export const counted = (count, noun) => `${count} ${noun}${count === 1 ? "" : "s"}`;

/**
 * What a batch is called: the name that it was given, and its prompts, else its id.
 * @param {{name: string | null, title: string, batchId: string}} batch
 */
export const titleOf = ({ name, title, batchId }) => [name, title].filter(Boolean).join(" · ") || batchId;

/** Whether it belongs to no batch. @param {{batchId?: string}} image */
export const isLoose = (image) => image.batchId?.startsWith("~") ?? false;

/** @param {{image: string, batchId?: string, file?: string}} image */
export const nameOf = (image) => (isLoose(image) && image.file ? (image.file.split("/").pop() ?? "") : `Image ${image.image}`);

/** What tells an image from the others of its batch. @param {{differs: string[]}} image */
export const differenceOf = ({ differs }) => differs.join(" · ");

/** How many images a prompt of a batch makes. @param {any} answer of the progress call */
export const perPrompt = ({ effectiveParameters: { batch_size: size } }) => (Number.isInteger(size) && size > 1 ? size : 1);

/** How many failed: of a large batch, `failedImages` are the first ones. @param {any} answer of the progress call */
export const failedCount = ({ failedTotal, progress }) => failedTotal ?? progress.failedImages.length;

/**
 * How a batch ended: `Batch complete: 4 successful, 1 failed`. Images are counted, of which a prompt may make several.
 * @param {any} answer of the progress call
 */
export function summary(answer) {
  const { completedImages, totalImages, status } = answer.progress;
  const failed = failedCount(answer);
  const left = (totalImages - completedImages - failed) * perPrompt(answer);
  const made = answer.madeImages ?? completedImages;
  return `Batch ${status}: ${made} successful, ${failed * perPrompt(answer)} failed${left ? `, ${left} not made` : ""}`;
}

const SHOWN = ["model", "lora", "steps", "cfg", "sampler", "scheduler", "denoise", "width", "height", "batch size", "negative"];

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
  const { width, height, batch_size: each, denoise, ...others } = parameters;
  const size = width && height ? { size: `${width}\u00a0×\u00a0${height}` } : { width, height };
  /** @type {Record<string, any>} */
  const said = { ...others, ...size, "batch size": each === 1 ? null : each, denoise: denoise === 1 ? null : denoise };
  return [...SHOWN, "size"]
    .filter((name) => said[name] !== undefined && said[name] !== null && said[name] !== "")
    .map((name) => `${name === "cfg" ? "CFG" : name} ${Array.isArray(said[name]) ? said[name].join(", ") : said[name]}`)
    .join(" · ");
}
