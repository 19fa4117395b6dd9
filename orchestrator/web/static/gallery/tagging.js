/** The dialog that gives images tags and takes them off. */

import { completeSearch, markTags } from "../api.js";
import { byId, make, say } from "../dom.js";

const dialog = byId("tagging");
const field = byId("tagging-new");
const there = byId("tagging-there");
const PATIENCE_MILLISECONDS = 5000;

/** Ends what is open. */
let end = () => {};

/**
 * Open it over these images; resolved with what the API answered last, once it is closed. Each act is done at once.
 * @param {any[]} images those that are chosen, as far as the page knows them
 * @param {object[]} refs all that are chosen
 * @returns {Promise<any>}
 */
export async function tagImages(images, refs) {
  end();
  const tags = new Map();
  for (const image of images) for (const tag of image.tags ?? []) tags.set(tag, (tags.get(tag) ?? 0) + 1);
  say(byId("tagging-title"), refs.length === 1 ? "Tags of the image" : `Tags of ${refs.length} images`);
  wrong("");
  field.value = "";
  show(tags, refs);
  offer();
  dialog.showModal();
  field.focus();
  return new Promise((resolve) => {
    const over = new AbortController();
    const { signal } = over;
    /** @type {any} */
    let done = null;
    end = () => {
      over.abort();
      resolve(done);
    };
    const change = async (/** @type {string[]} */ add, /** @type {string[]} */ remove) => {
      try {
        done = await markTags(refs, add, remove);
        wrong("");
        for (const tag of add) tags.set(tag, refs.length);
        for (const tag of remove) tags.delete(tag);
        show(tags, refs);
        return true;
      } catch (error) {
        wrong(error instanceof Error ? error.message : String(error));
        return false;
      }
    };
    byId("tagging-form").addEventListener(
      "submit",
      async (/** @type {Event} */ event) => {
        event.preventDefault();
        const typed = field.value.split(",").map((/** @type {string} */ tag) => tag.trim()).filter(Boolean);
        if (!typed.length) dialog.close();
        else if (await change(typed, [])) field.value = "";
      },
      { signal },
    );
    there.addEventListener(
      "click",
      (/** @type {Event} */ event) => {
        const { tag } = /** @type {HTMLElement} */ (event.target).dataset;
        if (tag) change([], [tag]).then(() => field.focus());
      },
      { signal },
    );
    byId("tagging-close").addEventListener("click", () => dialog.close(), { signal });
    dialog.addEventListener("close", () => dialog.open || end(), { signal });
  });
}

/** @param {Map<string, number>} tags @param {object[]} refs */
function show(tags, refs) {
  const names = [...tags.keys()].sort((one, other) => one.localeCompare(other));
  there.replaceChildren(
    ...names.map((tag) => {
      const isAll = (tags.get(tag) ?? 0) >= refs.length;
      const text = isAll ? tag : `${tag} (some)`;
      return make("li", {}, make("button", { type: "button", className: "tag", "data-tag": tag, "aria-label": `Remove ${tag}` }, `${text} ✕`));
    }),
  );
  there.hidden = !names.length;
}

/** The tags that there are already. */
async function offer() {
  try {
    const found = await completeSearch("tag:", 4, AbortSignal.timeout(PATIENCE_MILLISECONDS));
    const names = found.suggestions.map((/** @type {any} */ one) => one.text.slice(4).replaceAll('"', ""));
    byId("tagging-known").replaceChildren(...names.map((/** @type {string} */ name) => make("option", { value: name })));
  } catch {
    // They can be typed.
  }
}

/** @param {string} message */
function wrong(message) {
  const place = byId("tagging-wrong");
  place.hidden = !message;
  say(place, message);
}
