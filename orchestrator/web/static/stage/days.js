/** The batches that are done with, by the day of their request. */

import { byId, make, say } from "../dom.js";
import { arrange } from "./batch_card.js";
import { dayOf } from "./batch_words.js";

/** Keeps a section for each day. */
export class Days {
  constructor() {
    /** @type {Map<string, HTMLElement>} */
    this.sections = new Map();
  }

  /** Have exactly these, in this order. @param {import("./folding.js").Place[]} places */
  lay(places) {
    /** @type {Map<string, HTMLElement[]>} */
    const days = new Map();
    for (const { day, element } of places) {
      const there = days.get(day);
      if (there) there.push(element);
      else days.set(day, [element]);
    }
    arrange(byId("feed-days"), [...days].map(([day, elements]) => this.#day(day, elements)));
  }

  /** @param {string} day @param {HTMLElement[]} elements */
  #day(day, elements) {
    const section = this.sections.get(day) ?? this.#make(day);
    const [title, list] = section.children;
    say(title, dayOf(new Date(day), new Date()));
    arrange(list, elements);
    return section;
  }

  /** @param {string} day @returns {HTMLElement} */
  #make(day) {
    const id = `day-${this.sections.size}`;
    const section = make("section", { className: "feed-day" }, make("h3", { id }), make("ol", { className: "plain" }));
    section.setAttribute("aria-labelledby", id);
    this.sections.set(day, section);
    return section;
  }
}
