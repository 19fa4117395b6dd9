/** A finger that is moved to one side. */

const LEAST_PIXELS = 48;

/**
 * Call `act` with 1 for a swipe to the left, which brings what follows, and with -1 for one to the right.
 * @param {HTMLElement} element
 * @param {(step: number) => void} act
 * @param {() => boolean} counts whether a swipe means that at the moment
 */
export function onSwipe(element, act, counts) {
  /** @type {PointerEvent | null} */
  let began = null;
  element.addEventListener("pointerdown", (event) => {
    // A second finger makes it a pinch.
    began = event.isPrimary && event.pointerType !== "mouse" && counts() ? event : null;
  });
  element.addEventListener("pointercancel", () => (began = null));
  element.addEventListener("pointerup", (event) => {
    if (!began || event.pointerId !== began.pointerId) return;
    const [x, y] = [event.clientX - began.clientX, event.clientY - began.clientY];
    began = null;
    if (counts() && Math.abs(x) >= LEAST_PIXELS && Math.abs(x) > 1.5 * Math.abs(y)) act(x < 0 ? 1 : -1);
  });
}
