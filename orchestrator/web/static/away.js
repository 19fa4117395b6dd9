/** That the server, or the database of a state, does not answer: said once, at the top of every page, until it does. */

import { NO_DATABASE, NO_SERVER } from "./api.js";
import { byId, notify } from "./dom.js";
import { askQueue, hearQueue } from "./queue/events.js";

const GOES_ON = "The page continues by itself when it does.";
const notice = byId("page-away");

/** @param {any} queue */
function heard({ states }) {
  notify(notice, states.some((/** @type {any} */ one) => one.away) ? NO_DATABASE : "", GOES_ON);
}

/**
 * Say at `alert` what went wrong. That the database is away is for the whole page to say.
 * @param {HTMLElement} alert
 * @param {any} error
 */
export function alarm(alert, error) {
  const isForAll = error.message === NO_DATABASE;
  const isSaid = alert === composers() && isSaidBeside(alert, error.message);
  notify(alert, isForAll || isSaid ? "" : (error.message ?? String(error)), error.detail ?? "");
  if (isForAll) askQueue();
  const other = composers();
  if (other && isSaidBeside(other, error.message) && textOf(other) === error.message) notify(other, "");
}

/** The composer's own notice, which gives way to one that says the same: the composer asks again by itself. */
const composers = () => document.getElementById("server-away");
/** @param {Element} alert */
const textOf = (alert) => alert.querySelector("p")?.textContent;

/** @param {Element} alert @param {string} message */
const isSaidBeside = (alert, message) =>
  [...document.querySelectorAll("[role=alert]")].some((one) => one !== alert && one.checkVisibility() && textOf(one) === message);

/** @param {any} error of a call that asks ComfyUI nothing */
function away({ message }) {
  notify(notice, message === NO_SERVER ? "The page's own server does not answer" : message, GOES_ON);
}

hearQueue({ heard, away });
