/** One zoom for one image or several: the stage's variables --zoom, --x and --y, which its style sheet uses for each. */

const LARGEST = 16;
const STEP = 1.25;
const MOVE = 0.1;

/** Zooming and moving by wheel, by one pointer or two, by keys and by buttons. */
export class Zoom {
  /**
   * @param {HTMLElement} stage
   * @param {{pane: () => Element, changed: (scale: number) => void, takes: (event: PointerEvent) => boolean}} told
   *   `pane`: what an image fills at 100 %. `takes`: whether a pointer that goes down is meant for the zoom.
   */
  constructor(stage, { pane, changed, takes }) {
    this.stage = stage;
    this.pane = pane;
    this.changed = changed;
    this.scale = 1;
    this.x = 0;
    this.y = 0;
    /** @type {Map<number, {x: number, y: number}>} */
    this.pointers = new Map();
    stage.addEventListener("wheel", (event) => this.#wheel(event), { passive: false });
    stage.addEventListener("pointerdown", (event) => {
      if (takes(event)) this.#down(event);
    });
    stage.addEventListener("pointermove", (event) => this.#move(event));
    for (const name of ["pointerup", "pointercancel"]) {
      stage.addEventListener(name, (event) => this.pointers.delete(/** @type {PointerEvent} */ (event).pointerId));
    }
    this.whole();
  }

  /** Everything, at 100 %. */
  whole() {
    this.#set(1, 0, 0);
  }

  /**
   * Closer by this factor; `at`, in shares of the pane, stays where it is.
   * @param {number} factor
   * @param {{x: number, y: number}} [at]
   */
  by(factor, at = { x: 0.5, y: 0.5 }) {
    const scale = Math.min(LARGEST, Math.max(1, this.scale * factor));
    const grown = scale / this.scale;
    this.#set(scale, at.x - (at.x - this.x) * grown, at.y - (at.y - this.y) * grown);
  }

  in() {
    this.by(STEP);
  }

  out() {
    this.by(1 / STEP);
  }

  /** Where a pointer is, in shares of the pane it is over. @param {MouseEvent} event */
  share(event) {
    const over = /** @type {Element} */ (event.target).closest?.(".view") ?? this.pane();
    const box = over.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  }

  /**
   * What a key does: `+`, `-` and `0`, and the arrows with `moves`.
   * @param {KeyboardEvent} event
   * @param {{moves: boolean}} options
   * @returns {boolean} whether it does anything
   */
  press(event, { moves }) {
    const act = this.#keys(moves)[event.key];
    if (!act || event.ctrlKey || event.metaKey || event.altKey) return false;
    event.preventDefault();
    act();
    return true;
  }

  /** @param {boolean} moves @returns {Record<string, () => void>} */
  #keys(moves) {
    const move = (/** @type {number} */ x, /** @type {number} */ y) => () =>
      this.#set(this.scale, this.x + x * MOVE, this.y + y * MOVE);
    const zooms = { "+": () => this.in(), "=": () => this.in(), "-": () => this.out(), 0: () => this.whole() };
    if (!moves) return zooms;
    return { ...zooms, ArrowLeft: move(1, 0), ArrowRight: move(-1, 0), ArrowUp: move(0, 1), ArrowDown: move(0, -1) };
  }

  /** @param {number} scale @param {number} x @param {number} y shares of the pane */
  #set(scale, x, y) {
    const least = 1 - scale;
    this.scale = scale;
    this.x = Math.min(0, Math.max(least, x));
    this.y = Math.min(0, Math.max(least, y));
    this.stage.style.setProperty("--zoom", String(scale));
    this.stage.style.setProperty("--x", `${this.x * 100}%`);
    this.stage.style.setProperty("--y", `${this.y * 100}%`);
    this.changed(scale);
  }

  /** @param {WheelEvent} event */
  #wheel(event) {
    event.preventDefault();
    this.by(Math.exp(-event.deltaY / 400), this.share(event));
  }

  /** @param {PointerEvent} event */
  #down(event) {
    // Two pointers are a pinch; a third would be neither.
    if (this.pointers.size >= 2) return;
    this.stage.setPointerCapture(event.pointerId);
    this.pointers.set(event.pointerId, this.share(event));
  }

  /** @param {PointerEvent} event */
  #move(event) {
    const before = this.pointers.get(event.pointerId);
    if (!before) return;
    const now = this.share(event);
    const [other] = [...this.pointers].filter(([id]) => id !== event.pointerId).map(([, at]) => at);
    this.pointers.set(event.pointerId, now);
    if (other) this.#pinch(before, now, other);
    else this.#set(this.scale, this.x + now.x - before.x, this.y + now.y - before.y);
  }

  /** @typedef {{x: number, y: number}} Point @param {Point} before @param {Point} now @param {Point} other */
  #pinch(before, now, other) {
    const apart = (/** @type {Point} */ one) => Math.hypot(one.x - other.x, one.y - other.y) || 0.01;
    this.by(apart(now) / apart(before), { x: (now.x + other.x) / 2, y: (now.y + other.y) / 2 });
  }
}
