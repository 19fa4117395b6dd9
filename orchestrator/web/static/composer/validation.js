/** What is wrong with a form, before it is sent. Pure but for reading the fields. */

const LARGEST_SEED = 2n ** 64n - 1n;

/**
 * Every wrong field's id with its message, in the form's order.
 * @param {import("./form.js").BatchForm} owner
 * @returns {Map<string, string>}
 */
export function mistakes(owner) {
  const found = new Map();
  for (const field of /** @type {Iterable<any>} */ (owner.form.elements)) {
    if (!field.name || field.disabled) continue;
    const message = (CHECKS[field.id] ?? rangeMistake)(field, owner);
    if (message) found.set(field.id, message);
  }
  return found;
}

/** @type {Record<string, (field: any, owner: import("./form.js").BatchForm) => string>} */
const CHECKS = {
  prompt: ({ value }, owner) => (hasPrompt(value, owner) ? "" : "Prompt cannot be empty"),
  image: (_, { image }) => image.wrong,
  axes: (_, { axes }) => axes.wrong,
  loras: (_, { loras }) => loras.wrong,
  batchCount: (field, { kind }) => {
    const count = field.validity.badInput ? NaN : Number(field.value);
    if (kind.isFree) return Number.isInteger(count) && count >= 1 && count <= 999 ? "" : "Number of images is a whole number from 1 to 999";
    if (count < 2) return "Minimum 2 images required for batch";
    if (count > 20) return "Maximum 20 images allowed per batch";
    return Number.isInteger(count) ? "" : "Batch count is a whole number from 2 to 20";
  },
  baseSeed: ({ value }) => {
    const text = value.trim();
    const fits = !text || (/^\d+$/.test(text) && BigInt(text) <= LARGEST_SEED);
    return fits ? "" : `Base seed is a whole number from 0 to ${LARGEST_SEED}`;
  },
};

/** A line that begins with # is a comment. @param {string} text @param {import("./form.js").BatchForm} owner */
function hasPrompt(text, owner) {
  const lines = owner.form.elements.namedItem("severalPrompts").checked ? text.split("\n") : [text];
  return lines.some((line) => line.trim() && (lines.length === 1 || !line.trim().startsWith("#")));
}

/** @param {any} field */
function rangeMistake(field) {
  if (field.type !== "number" || field.validity.valid) return "";
  const kind = field.step === "any" ? "a number" : "a whole number";
  return `${field.labels[0].textContent} is ${kind} from ${field.min} to ${field.max}`;
}
