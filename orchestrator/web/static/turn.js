/** One view turns into the other where the browser shows that, unless the reader prefers little motion. */

/** @param {() => void} change @returns {Promise<void>} once it has turned */
export function turn(change) {
  const isStill = matchMedia("(prefers-reduced-motion: reduce)").matches || document.hidden;
  if (!isStill && document.startViewTransition) return document.startViewTransition(change).finished;
  change();
  return Promise.resolve();
}
