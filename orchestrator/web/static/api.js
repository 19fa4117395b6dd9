/** The JSON API, one function a call. Nothing here touches the document. */

import { tellImages } from "./image_changes.js";

const PATIENCE_MILLISECONDS = 15_000;
/** What changes something may have been done although its answer did not come in time. */
const CHANGING_PATIENCE_MILLISECONDS = 120_000;

export const NO_SERVER = "Cannot connect to server";
export const NO_DATABASE = "The database does not answer";

/** The API said no: `message` is its own, `field` the part of the request that was wrong, where it was one. */
export class Refused extends Error {
  /** @param {number} status @param {string} message @param {string | null} field */
  constructor(status, message, field) {
    super(message);
    this.status = status;
    this.field = field;
  }
}

/** Nobody answered, or only to say that ComfyUI or the state's database does not. Trying again may help. `detail`: what else is known. */
export class Away extends Error {
  /** @param {string} [said] */
  constructor(said = "") {
    const who = said.startsWith(NO_DATABASE) ? NO_DATABASE : NO_SERVER;
    super(who);
    this.detail = said === who ? "" : said.replace(`${who}: `, "");
  }
}

/**
 * Seeds have up to 64 bits and JavaScript's numbers 53, so they stay texts on this side.
 * A quotation mark inside a JSON text has a backslash before it: neither pattern can match inside a prompt.
 * @param {string} text
 */
const withSeedsAsTexts = (text) => text.replace(/"(seed|baseSeed)":\s*(\d+)/g, '"$1":"$2"');
/** @param {string} text */
const withSeedsAsNumbers = (text) => text.replace(/"(seed|baseSeed)":"(\d+)"/g, '"$1":$2');

/** An answer of the API. @param {string} text */
export const parsed = (text) => JSON.parse(withSeedsAsTexts(text));

/** What the API answered, as a text for people: seeds are numbers again. @param {any} answer */
export const asJson = (answer) => JSON.stringify(answer, null, 2).replace(/"(seed|baseSeed)": "(\d+)"/g, '"$1": $2');

/**
 * @param {string} method
 * @param {string} path
 * @param {{body?: object | Blob, signal?: AbortSignal, headers?: Record<string, string>}} [options]
 * @returns {Promise<any>} the answer's JSON. Errors: Away, Refused.
 */
async function call(method, path, { body, signal, headers = {} } = {}) {
  const limit = AbortSignal.timeout(method === "GET" ? PATIENCE_MILLISECONDS : CHANGING_PATIENCE_MILLISECONDS);
  let response, text;
  try {
    response = await fetch(path, {
      method,
      headers: !body || body instanceof Blob ? headers : { "Content-Type": "application/json", ...headers },
      body: body instanceof Blob ? body : body && withSeedsAsNumbers(JSON.stringify(body)),
      signal: signal ? AbortSignal.any([signal, limit]) : limit,
      cache: "no-store",
    });
    text = await response.text();
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Away();
  }
  if (response.ok) return parsed(text);
  throw refusal(response.status, text);
}

/** @param {number} status @param {string} text */
function refusal(status, text) {
  let said;
  try {
    said = JSON.parse(text).error;
  } catch {
    // A proxy's own page.
  }
  const message = said?.message ?? `The server answered with the status ${status}`;
  // The token is another one since, or the cookie is gone: the page that asks for it leads back to here.
  if (status === 401) location.reload();
  if (status >= 502 && status <= 504) return new Away(said?.message);
  return new Refused(status, message, said?.field ?? null);
}

/** The keys of requests that have no answer yet, by what they ask for. @type {Map<string, string>} */
const unanswered = new Map();

/**
 * As `call`, for what makes a batch. It may have been made although no answer came, so the same request is sent again
 * under the key that it had: then the answer is that batch. A request that was answered is a new one the next time.
 * @param {string} path
 * @param {object} [body]
 */
async function callOnce(path, body) {
  const what = JSON.stringify([path, body]);
  const key = unanswered.get(what) ?? newKey();
  unanswered.set(what, key);
  try {
    const answer = await call("POST", path, { body, headers: { "Idempotency-Key": key } });
    unanswered.delete(what);
    return answer;
  } catch (error) {
    if (error instanceof Refused && error.status < 500) unanswered.delete(what);
    throw error;
  }
}

/** `crypto.randomUUID` is there on secure pages alone, and a page of another host need not be one. */
function newKey() {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (byte) => byte.toString(16).padStart(2, "0")).join("");
}

/**
 * What the server confirmed is told to all that holds images, in every tab.
 * @param {Promise<any>} answering @param {(answer: any) => import("./image_changes.js").Change} changeOf
 */
async function told(answering, changeOf) {
  const answer = await answering;
  tellImages(changeOf(answer));
  return answer;
}

/** @param {string} batchId */
const at = (batchId) => `/api/batches/${encodeURIComponent(batchId)}`;

/** @param {object} batchRequest @param {number} state */
export const startBatch = (batchRequest, state) => callOnce("/api/create", { batchRequest, state });

/** Bring an image, to make batches of this state from. @param {Blob} image @param {number} state @returns {Promise<{upload: string}>} */
export const uploadImage = (image, state) => call("POST", `/api/uploads?state=${state}`, { body: image });

/** What a request would make; nothing is added. @param {object} batchRequest @param {number} state @param {AbortSignal} signal */
export const forecastOf = (batchRequest, state, signal) => call("POST", "/api/forecast", { body: { batchRequest, state }, signal });

/** @param {Blob} table @param {Record<string, string>} asked state and template */
export const uploadTable = (table, asked) => call("POST", `/api/tables?${new URLSearchParams(asked)}`, { body: table });

/** What a PNG says that it was made with. @param {Blob} image */
export const settingsIn = (image) => call("POST", "/api/settings", { body: image });

/** @param {string} batchId @param {string} image */
export const settingsOf = (batchId, image) => call("GET", `${at(batchId)}/images/${encodeURIComponent(image)}/settings`);

/** @param {string} batchId @param {AbortSignal} signal */
export const progressOf = (batchId, signal) => call("GET", `${at(batchId)}/progress`, { signal });

/** Some of a batch's images. @param {string} batchId @param {Record<string, string>} wanted @param {AbortSignal} signal */
export const batchPart = (batchId, wanted, signal) =>
  call("GET", `${at(batchId)}?${new URLSearchParams(wanted)}`, { signal });

/**
 * A sweep as a table, or with an ending where its files are. @param {string} batchId @param {URLSearchParams} query
 * @param {string} [ending]
 */
export const gridAddress = (batchId, query, ending = "") => `${at(batchId)}/grid${ending}${query.size ? `?${query}` : ""}`;

/** @param {string} batchId @param {URLSearchParams} query @param {AbortSignal} signal */
export const gridOf = (batchId, query, signal) => call("GET", gridAddress(batchId, query), { signal });

/** @param {string} batchId */
export const cancelBatch = (batchId) => call("POST", `${at(batchId)}/cancel`);

/** What failed or was cancelled of it is due again. @param {string} batchId @returns {Promise<{items: string[], notes: string[]}>} */
export const retryBatch = (batchId) => call("POST", `${at(batchId)}/retry`);

/** @param {string} batchId */
export const regenerate = (batchId) => callOnce(`${at(batchId)}/regenerate`);

/** @param {Record<string, string>} asked */
export const optionsFor = (asked) => call("GET", `/api/options?${new URLSearchParams(asked)}`);

/**
 * Batches with their first images.
 * @param {string} after the `next` of the page before it; empty: what is under way, and the latest
 * @param {number} [size]
 */
export const feedPage = (after, size = 12) => call("GET", `/api/feed?${new URLSearchParams({ after, size: `${size}` })}`);

/** @param {number} number @param {AbortSignal} signal */
export const stateOf = (number, signal) => call("GET", `/api/states/${number}`, { signal });

/** @param {number} number @param {AbortSignal} signal */
export const serversOf = (number, signal) => call("GET", `/api/states/${number}/servers`, { signal });

/** @param {number} number @param {string[]} items none: all that failed */
export const retryItems = (number, items) => call("POST", `/api/states/${number}/retry`, { body: { items } });

/** @param {number} number @param {boolean} free whether the servers unload their models */
export const pauseRuns = (number, free) => call("POST", `/api/states/${number}/pause`, { body: { free } });

/** @param {number} number */
export const resumeRuns = (number) => call("POST", `/api/states/${number}/resume`);

export const queueNow = () => call("GET", "/api/queue");

/** The same as it changes; tabs that can share a worker share one of these (`queue/shared_events.js`). */
export const queueEvents = () => new EventSource("/api/events");

/** @param {string} batchId @param {string} priority or `first` */
export const moveBatch = (batchId, priority) => call("POST", `${at(batchId)}/priority`, { body: { priority } });

/** @param {number} number */
export const runLog = (number) => call("GET", `/api/states/${number}/log`);

/** @param {URLSearchParams} query @param {AbortSignal} signal */
export const galleryImages = (query, signal) => call("GET", `/api/gallery?${query}`, { signal });

/** @param {URLSearchParams} query @param {AbortSignal} signal */
export const galleryBatches = (query, signal) => call("GET", `/api/gallery/batches?${query}`, { signal });

/** @param {string} batchId @param {string} image @param {AbortSignal} signal */
export const imageDetails = (batchId, image, signal) => call("GET", `${at(batchId)}/images/${image}`, { signal });

/** @param {any} image @param {boolean} favorite @returns {Promise<{favorite: boolean}>} */
export const markFavorite = ({ batchId, image }, favorite) =>
  told(call(favorite ? "PUT" : "DELETE", `/api/images/${encodeURIComponent(batchId)}/${image}/favorite`), (marks) => ({ marks: [marks] }));

/** What can be made from an image, and why what cannot. @param {any} image @param {AbortSignal} signal */
export const derivationsOf = ({ batchId, image }, signal) =>
  call("GET", `${at(batchId)}/images/${image}/derivations`, { signal });

/** More images like one. @param {any} image @param {{count: number, strength?: number}} wanted */
export const makeVariations = ({ batchId, image }, wanted) => callOnce(`${at(batchId)}/images/${image}/variations`, wanted);

/**
 * A batch that is made from these images.
 * @param {{batchId: string, image: string}[]} images @param {{stage: string, model?: string}} chosen
 */
export const addStage = (images, chosen) =>
  callOnce("/api/stages", { images: images.map(({ batchId, image }) => ({ batchId, image })), ...chosen });

/** Make one that failed due again. @param {any} image */
export const retryImage = ({ batchId, image }) => call("POST", `${at(batchId)}/images/${image}/retry`);

/** @param {URLSearchParams} query @returns {Promise<{total: number, images: any[]}>} the ids of what is found */
export const foundImages = (query) => call("GET", `/api/gallery/refs?${query}`);

/** What may stand at the caret of a search. @param {string} text @param {number} cursor @param {AbortSignal} signal */
export const completeSearch = (text, cursor, signal) =>
  call("GET", `/api/gallery/completion?${new URLSearchParams({ text, cursor: String(cursor) })}`, { signal });

/** @param {object[]} images @param {boolean} favorite */
export const markFavorites = (images, favorite) =>
  told(call("POST", "/api/images/favorites", { body: { images, favorite } }), ({ images: marks }) => ({ marks }));

/** @param {object[]} images @param {string[]} add @param {string[]} remove */
export const markTags = (images, add, remove) =>
  told(call("POST", "/api/images/tags", { body: { images, add, remove } }), ({ images: marks }) => ({ marks, again: true }));

/** To the trash. @param {object[]} images */
export const deleteImages = (images) => told(call("POST", "/api/images/delete", { body: { images } }), () => ({ again: true }));

/** @param {object[]} images @returns {Promise<any>} where their ZIP is */
export const prepareDownload = (images) => call("POST", "/api/downloads", { body: { images } });

/** This picture, and no other that has its place by now. @param {any} image */
export const deleteImage = ({ batchId, image, version }) =>
  told(call("DELETE", `${at(batchId)}/images/${image}?${new URLSearchParams({ v: version })}`), () => ({ gone: [{ batchId, image }] }));

/** @param {number} state @param {URLSearchParams} query @param {AbortSignal} signal */
export const trashOf = (state, query, signal) => call("GET", `/api/states/${state}/trash?${query}`, { signal });

/** @param {number} state @param {string[]} trash */
export const restoreImages = (state, trash) =>
  told(call("POST", `/api/states/${state}/trash/restore`, { body: { trash } }), () => ({ again: true }));

/** @param {number} state */
export const emptyTrash = (state) => call("POST", `/api/states/${state}/trash/empty`);

/** @param {string} batchId */
export const deleteBatch = (batchId) => told(call("DELETE", at(batchId)), () => ({ again: true }));

/**
 * Where a ZIP of these images is; of all that there are, where none are named.
 * @param {string} batchId
 * @param {string[]} images
 */
export function zipAddress(batchId, images) {
  const query = new URLSearchParams(images.map((image) => ["image", image]));
  return `${at(batchId)}/zip${images.length ? `?${query}` : ""}`;
}
