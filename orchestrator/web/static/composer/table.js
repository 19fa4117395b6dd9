/** A table in place of the prompt: its columns with what they set, and how many rows it has. */

import { byId, make, say } from "../dom.js";
import { counted } from "../words.js";

/** Kept in a hidden field; the table itself is kept by the server. */
export class TableCard {
  constructor() {
    this.card = byId("table-card");
    this.field = byId("table");
    byId("table-remove").addEventListener("click", () => this.set(null));
    this.show();
  }

  /** What the API said of it, and the name of its file; null where there is none. @returns {any} */
  get kept() {
    try {
      return JSON.parse(this.field.value || "null");
    } catch {
      return null;
    }
  }

  /** Its first prompt. */
  get prompt() {
    return this.kept?.prompts[0] ?? "";
  }

  /** @param {any} table */
  set(table) {
    this.field.value = table ? JSON.stringify(table) : "";
    this.field.dispatchEvent(new Event("input", { bubbles: true }));
  }

  show() {
    const table = this.kept;
    this.card.hidden = !table;
    const prompt = byId("prompt");
    prompt.closest(".field").hidden = Boolean(table);
    prompt.disabled = Boolean(table);
    byId("severalPrompts").closest("label").hidden = Boolean(table);
    if (!table) return;
    say(byId("table-name"), table.name);
    say(byId("table-rows"), [counted(table.rows, "row"), ...table.notes].join(" · "));
    byId("table-columns").replaceChildren(...table.columns.map(columnOf));
  }
}

/** @param {{title: string, binds: string | null}} column */
function columnOf({ title, binds }) {
  if (!binds) return make("li", {}, title || "(no heading)", " ", make("span", {}, "left out"));
  return binds === title ? make("li", {}, title) : make("li", {}, title, " ", make("span", {}, `→ ${binds}`));
}
