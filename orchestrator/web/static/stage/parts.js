/** The finished images of a large batch, fetched part by part. */

import { batchPart } from "../api.js";

/** What is left to fetch. */
export class Parts {
  /** @param {string} batchId @param {number} count images of so many prompts at a time @param {AbortSignal} signal */
  constructor(batchId, count, signal) {
    this.batchId = batchId;
    this.count = count;
    this.signal = signal;
    /** The number to go on from; null where nothing is left. @type {number | null} */
    this.from = 0;
  }

  /** Some more, in order; none only where nothing is left. @returns {Promise<any[]>} Errors: Away, Refused. */
  async fetch() {
    while (this.from !== null) {
      const wanted = { status: "completed", from: `${this.from}`, count: `${this.count}` };
      const part = await batchPart(this.batchId, wanted, this.signal);
      this.from = part.next;
      const made = part.images.filter((/** @type {any} */ image) => image.url);
      if (made.length) return made;
    }
    return [];
  }
}
