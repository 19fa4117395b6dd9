/** The values of an axis as people write them: a list, ranges, texts in quotation marks. Pure. */

const MOST = 1000;
const NUMBER = String.raw`[+-]?(?:\d+\.?\d*|\.\d+)`;
const RANGE = new RegExp(String.raw`^(${NUMBER})\s*(?:\.\.|…|–|-|\bto\b)\s*(${NUMBER})(?:\s*(?:\bstep\b|:|\bby\b)\s*(${NUMBER}))?$`);
const PART = /\s*(?:"((?:[^"]|"")*)"\s*|([^,]*))(?:,|$)/y;

/**
 * `5, 7..9` is 5, 7, 8, 9; `1-2 step 0.5` is 1, 1.5, 2. Of `texts`, nothing is a range.
 * @param {string} text
 * @param {{texts?: boolean}} [how]
 * @returns {{values: string[], wrong: string}} `wrong`: what is wrong with it
 */
export function valuesOf(text, { texts = false } = {}) {
  /** @type {string[]} */
  const values = [];
  for (const part of parts(text)) {
    const range = texts ? null : RANGE.exec(part);
    const { found, wrong } = range ? rangeOf(range) : { found: [part], wrong: "" };
    if (wrong) return { values: [], wrong };
    values.push(...found);
    if (values.length > MOST) return { values: [], wrong: `An axis has up to ${MOST} values` };
  }
  const twice = values.find((value, at) => values.indexOf(value) !== at);
  return twice === undefined ? { values, wrong: "" } : { values: [], wrong: `${twice} is there twice; take one out` };
}

/** @param {string} text */
function parts(text) {
  /** @type {string[]} */
  const found = [];
  PART.lastIndex = 0;
  while (PART.lastIndex < text.length) {
    const match = PART.exec(text);
    if (!match) return [...found, text];
    const part = match[1] === undefined ? match[2].trim() : match[1].replaceAll('""', '"');
    if (part) found.push(part);
  }
  return found;
}

/** @param {RegExpExecArray} range */
function rangeOf([, from, to, by]) {
  const [first, last] = [Number(from), Number(to)];
  const step = by === undefined ? 1 : Math.abs(Number(by));
  if (!step) return { found: [], wrong: "The step of a range is more than 0" };
  const count = Math.floor(Math.abs(last - first) / step + 1e-9) + 1;
  if (count > MOST) return { found: [], wrong: `An axis has up to ${MOST} values` };
  const sign = last < first ? -1 : 1;
  // Decimal steps add up inexactly: each value is rounded to the digits that were written.
  const digits = Math.max(...[from, to, by ?? "1"].map((one) => (one.split(".")[1] ?? "").length));
  return { found: Array.from({ length: count }, (_, at) => String(Number((first + sign * at * step).toFixed(digits)))), wrong: "" };
}
