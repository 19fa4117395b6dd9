/** What is wrong with a form, before it is sent. Pure but for reading the fields. */

const LARGEST_SEED = 2n ** 64n - 1n;

/**
 * Every wrong field with its message, in the form's order.
 * @param {HTMLFormElement} form
 * @returns {Map<string, string>}
 */
export function mistakes(form) {
  const found = new Map();
  for (const field of /** @type {Iterable<any>} */ (form.elements)) {
    if (!field.name || field.disabled) continue;
    const message = (CHECKS[field.name] ?? rangeMistake)(field);
    if (message) found.set(field.name, message);
  }
  return found;
}

/** @type {Record<string, (field: any) => string>} */
const CHECKS = {
  prompt: ({ value }) => (value.trim() ? "" : "Prompt cannot be empty"),
  image: ({ files, required }) => (required && !files.length ? "Choose an image" : ""),
  batchCount: (field) => {
    const count = field.validity.badInput ? NaN : Number(field.value);
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

/** @param {any} field */
function rangeMistake(field) {
  if (field.type !== "number" || field.validity.valid) return "";
  const kind = field.step === "any" ? "a number" : "a whole number";
  return `${field.labels[0].textContent} is ${kind} from ${field.min} to ${field.max}`;
}
