/** Pictures and batches as the gallery lists them. */

import { make } from "../dom.js";
import { thumbnail } from "../thumbnail.js";
import { keyOfImage } from "../image_changes.js";
import { icon } from "../viewer/icons.js";
import { counted, isLoose, standing, titleOf } from "../words.js";

/** Made where it is needed: the start page shows no such moment. @type {Intl.DateTimeFormat | null} */
let moments = null;

/** @param {string} moment */
export function when(moment) {
  moments ??= new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "short" });
  return moments.format(new Date(moment));
}

/** Where it is shown with all that is known of it. @param {any} image */
export const addressOf = (image) => `/gallery?${new URLSearchParams({ image: keyOfImage(image) })}`;

/** What a screen reader says of a picture. @param {any} image */
export const described = (image) =>
  image.prompt || (isLoose(image) ? image.file : `Image ${image.image} of batch ${image.batchName ?? image.batchId}`);

/** One image; what a click does is the list's affair. @param {any} image @returns {HTMLElement} */
export function pictureTile(image) {
  const name = described(image);
  const opens = { className: "tile-picture", href: addressOf(image), "data-image": keyOfImage(image), draggable: false };
  const link = make("a", opens, image.thumbnail ? small(image) : wordOf(image));
  const pick = make("input", { type: "checkbox", className: "tile-pick", "aria-label": `Choose ${name}`, tabIndex: -1 });
  const facts = [image.seed === null ? "" : `seed ${image.seed}`, image.model ?? "", ...image.tags.map((/** @type {string} */ tag) => `#${tag}`)];
  const parts = [link, pick];
  if (image.kind === "video" || image.kind === "audio") parts.push(make("span", { className: "badge tile-kind" }, image.kind));
  if (!image.readOnly) parts.push(starOf(image, name));
  return make(
    "li",
    { className: "tile" },
    make("div", { className: "tile-frame" }, ...parts),
    make("p", { className: "tile-prompt", title: image.prompt }, image.prompt || image.file.split("/").pop()),
    make("p", { className: "tile-facts" }, facts.filter(Boolean).join(" · ")),
  );
}

/** @param {any} image */
function small(image) {
  const picture = thumbnail(image.thumbnail, described(image));
  picture.addEventListener("error", () => picture.replaceWith(make("span", { className: "blank" }, "cannot be shown")));
  return picture;
}

/** @param {any} image */
const wordOf = (image) => make("span", { className: "blank" }, image.file.split(".").pop());

/** @param {any} image @param {string} name */
function starOf(image, name) {
  const star = make("button", { type: "button", className: "tile-star", "aria-label": `Favorite: ${name}`, tabIndex: -1 }, icon("star"));
  star.ariaPressed = String(image.favorite);
  return star;
}

/** What stands for an image that is not here yet. @returns {HTMLElement} */
export const blankTile = () =>
  make("li", { className: "tile waiting", "aria-busy": "true" }, make("div", { className: "tile-frame" }, make("span", { className: "tile-picture" })));

/** Show whether an image is chosen. @param {HTMLElement} tile @param {boolean} isChosen */
export function markTile(tile, isChosen) {
  tile.classList.toggle("chosen", isChosen);
  const pick = /** @type {HTMLInputElement | null} */ (tile.querySelector(".tile-pick"));
  if (pick) pick.checked = isChosen;
}

/**
 * One picture in the trash, with a button that brings it back.
 * @param {any} image
 * @param {(image: any) => void} restore
 */
export function trashTile(image, restore) {
  const name = image.prompt || image.file;
  const button = make("button", { type: "button", "aria-label": `Restore ${image.file}` }, "Restore");
  button.addEventListener("click", () => restore(image));
  const picture = image.thumbnail
    ? make("img", { src: image.thumbnail, alt: name, loading: "lazy", decoding: "async" })
    : make("span", { className: "blank" }, image.file.split(".").pop());
  return make(
    "li",
    { className: "tile" },
    make("div", { className: "tile-picture" }, picture),
    make("p", { className: "tile-prompt" }, name),
    make("p", { className: "tile-facts" }, `deleted ${when(image.trashedAt)}`),
    button,
  );
}

/**
 * The picture itself, or what there is to say where a browser cannot show it.
 * @param {any} image
 * @param {string | null} address
 * @param {"lazy" | "eager"} loading
 */
export function shown(image, address, loading) {
  if (!address) return wordOf(image);
  const picture = make("img", { src: address, alt: described(image), loading, decoding: "async" });
  picture.addEventListener("error", () => picture.replaceWith(make("span", { className: "blank" }, "cannot be shown")));
  return picture;
}

/**
 * What plays a video or audio; null for all else.
 * @param {any} image
 */
export function player(image) {
  if (image.kind !== "video" && image.kind !== "audio") return null;
  const made = make(image.kind, { src: image.url, controls: true, preload: "metadata", "aria-label": described(image) });
  if (image.kind === "video" && image.thumbnail) made.poster = image.thumbnail;
  if (image.kind === "video") made.loop = true;
  made.addEventListener("error", () => made.replaceWith(make("span", { className: "blank" }, CANNOT_PLAY)));
  return made;
}

const CANNOT_PLAY = "This browser cannot play this file; download it";

/**
 * One batch, with its first few pictures.
 * @param {any} batch
 * @param {(batch: any) => void} remove
 */
export function batchRow(batch, remove) {
  const name = titleOf(batch);
  const title = batch.readOnly
    ? make("span", { className: "batch-prompt" }, name)
    : make("a", { className: "batch-prompt", href: `/?${new URLSearchParams({ batch: batch.batchId })}` }, name);
  const strip = batch.thumbnails.map((/** @type {string} */ address) =>
    make("img", { src: address, alt: "", loading: "lazy", decoding: "async" }),
  );
  const row = make("div", { className: "row apart" }, make("div", { className: "row" }, ...badges(batch)));
  if (!batch.readOnly) {
    const button = make("button", { type: "button", className: "danger", "aria-label": `Delete ${name}` }, "Delete");
    button.addEventListener("click", () => remove(batch));
    row.append(button);
  }
  return make("li", { className: "card batch" }, title, make("div", { className: "strip" }, ...strip), row);
}

/** @param {any} batch */
function badges(batch) {
  const tone = { complete: "good", failed: "bad", generating: "busy", queued: "busy" }[String(batch.status)] ?? "";
  const said = [
    make("span", { className: `badge ${tone}` }, standing(batch.status)),
    make("span", { className: "soft small" }, counted(batch.pictures, "image")),
    make("span", { className: "soft small" }, when(batch.createdAt)),
  ];
  if (batch.failedImages) said.splice(1, 0, make("span", { className: "badge bad" }, `${batch.failedImages} failed`));
  if (batch.readOnly) said.push(make("span", { className: "badge", title: LEFT }, "read only"));
  return said;
}

const LEFT = "This batch belongs to no state any more; it is shown from its directory";
