/** What a page's tab shows: how many images are finished, in the title and in the icon. */

import { hearQueue } from "./queue/events.js";

const SIZE = 64;
const icon = /** @type {HTMLLinkElement} */ (document.querySelector("link[rel=icon]"));
const plain = icon.href;
const colors = { back: "#14566b", track: "#ffffff55", done: "#ffffff" };

/** @typedef {{done: number, total: number}} Count */

let title = document.title;
/** Of a batch that the page shows; undefined: of all that is under way. @type {Count | null | undefined} */
let own;
/** @type {Count | null} */
let every = null;
let shown = "";

/**
 * What the page is called, and how far what it shows is.
 * @param {string} name
 * @param {Count | null} [count] of one batch; null: it has ended; left out: all that is under way
 */
export function nameTab(name, count) {
  title = name;
  own = count;
  show();
}

/** @param {any} queue */
function heard(queue) {
  const work = queue.next.filter((/** @type {any} */ one) => one.batchId !== null);
  const done = work.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.completed + one.failed, 0);
  const total = work.reduce((/** @type {number} */ sum, /** @type {any} */ one) => sum + one.total, 0);
  every = total ? { done, total } : null;
  show();
}

function show() {
  const count = own === undefined ? every : own;
  const text = count ? `(${count.done}/${count.total}) ${title}` : title;
  if (document.title !== text) document.title = text;
  draw(count);
}

/** A ring that closes; the plain icon where nothing is under way. @param {Count | null} count */
function draw(count) {
  const share = count ? Math.round((20 * count.done) / count.total) / 20 : -1;
  if (String(share) === shown) return;
  shown = String(share);
  if (share < 0) {
    use(plain);
    return;
  }
  ringOf(share).toBlob((blob) => blob && String(share) === shown && use(URL.createObjectURL(blob)));
}

/** @param {string} address */
function use(address) {
  if (icon.href.startsWith("blob:")) URL.revokeObjectURL(icon.href);
  icon.type = address === plain ? "image/svg+xml" : "image/png";
  icon.href = address;
}

/** @param {number} share */
function ringOf(share) {
  const canvas = document.createElement("canvas");
  canvas.width = canvas.height = SIZE;
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
  const half = SIZE / 2;
  pen.fillStyle = colors.back;
  pen.roundRect(0, 0, SIZE, SIZE, SIZE / 4);
  pen.fill();
  pen.lineWidth = SIZE / 6;
  pen.lineCap = "round";
  for (const [color, part] of /** @type {[string, number][]} */ ([[colors.track, 1], [colors.done, share]])) {
    if (!part) continue;
    pen.strokeStyle = color;
    pen.beginPath();
    pen.arc(half, half, SIZE * 0.3, -Math.PI / 2, -Math.PI / 2 + part * 2 * Math.PI);
    pen.stroke();
  }
  return canvas;
}

hearQueue({ heard, away: () => {} });
