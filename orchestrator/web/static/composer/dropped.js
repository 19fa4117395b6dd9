/** The files of a drop, also those in folders. */

import { MOST_IMAGES } from "./image_field.js";

/**
 * In the order of their paths; a little more than are taken, so that too many are seen to be too many.
 * @param {DataTransfer} data
 * @returns {Promise<File[]>}
 */
export async function filesOf(data) {
  // Only while the event is handled: afterwards there are no entries any more.
  const entries = [...data.items].map((item) => item.webkitGetAsEntry?.()).filter((entry) => entry?.isDirectory);
  const plain = [...data.files];
  if (!entries.length) return plain;
  /** @type {File[]} */
  const found = plain.filter((file) => !entries.some((entry) => entry?.name === file.name));
  for (const entry of entries) await gather(/** @type {FileSystemEntry} */ (entry), found);
  return found;
}

/** @param {FileSystemEntry} entry @param {File[]} found */
async function gather(entry, found) {
  if (found.length > MOST_IMAGES || entry.name.startsWith(".")) return;
  if (entry.isFile) {
    found.push(await new Promise((resolve, reject) => /** @type {FileSystemFileEntry} */ (entry).file(resolve, reject)));
    return;
  }
  const children = await childrenOf(/** @type {FileSystemDirectoryEntry} */ (entry));
  for (const child of children.sort((one, other) => one.name.localeCompare(other.name, "en", { numeric: true }))) {
    await gather(child, found);
  }
}

/** A reader gives a hundred at a time. @param {FileSystemDirectoryEntry} folder */
async function childrenOf(folder) {
  const reader = folder.createReader();
  /** @type {FileSystemEntry[]} */
  const found = [];
  for (;;) {
    /** @type {FileSystemEntry[]} */
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject));
    if (!some.length) return found;
    found.push(...some);
  }
}
