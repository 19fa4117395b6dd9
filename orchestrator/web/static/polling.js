/** Asking again and again, never twice at once. */

import { Away } from "./api.js";

export const EVERY_MILLISECONDS = 500;
const HIDDEN_MILLISECONDS = 5_000;
const LEAST_PAUSE_MILLISECONDS = 100;
const LONGEST_AWAY_MILLISECONDS = 5_000;

/**
 * Ask until `heard` returns true, an error other than Away comes, or `signal` is aborted. A question begins 500 ms after
 * the one before it began; less often in a hidden tab, and while nobody answers. `wake` asks at once.
 *
 * @template T
 * @param {() => Promise<T>} ask
 * @param {{heard: (answer: T) => boolean, away: (error: Away) => void, signal: AbortSignal, wake: EventTarget}} told
 * @returns {Promise<void>} Errors: whatever `ask` throws but Away.
 */
export async function poll(ask, { heard, away, signal, wake }) {
  let failures = 0;
  while (!signal.aborted) {
    const began = performance.now();
    try {
      const answer = await ask();
      failures = 0;
      if (signal.aborted || heard(answer)) return;
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof Away)) throw error;
      failures += 1;
      away(error);
    }
    await pause(pauseAfter(failures) - (performance.now() - began), signal, wake);
  }
}

/** @param {number} failures in a row */
function pauseAfter(failures) {
  if (document.hidden) return HIDDEN_MILLISECONDS;
  return Math.min(EVERY_MILLISECONDS * 2 ** Math.min(failures, 10), failures ? LONGEST_AWAY_MILLISECONDS : Infinity);
}

/** @param {number} milliseconds @param {AbortSignal} signal @param {EventTarget} wake */
function pause(milliseconds, signal, wake) {
  return new Promise((done) => {
    const over = new AbortController();
    const end = () => {
      clearTimeout(timer);
      over.abort();
      done(undefined);
    };
    const timer = setTimeout(end, Math.max(milliseconds, LEAST_PAUSE_MILLISECONDS));
    signal.addEventListener("abort", end, { signal: over.signal });
    wake.addEventListener("wake", end, { signal: over.signal });
    document.addEventListener("visibilitychange", end, { signal: over.signal });
  });
}
