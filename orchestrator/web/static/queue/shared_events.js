/**
 * One connection to the server for all tabs of a browser, in a worker that they share. A tab says whether it is seen; it
 * is told every queue, as JSON, and when the connection is lost.
 */

const ADDRESS = "/api/events";
const AGAIN_MILLISECONDS = 3_000;

/** The tabs, and whether each is seen. @type {Map<MessagePort, boolean>} */
const tabs = new Map();
/** @type {EventSource | null} */
let source = null;
/** The latest queue. */
let latest = "";
let timer = 0;

addEventListener("connect", (event) => {
  const [port] = /** @type {MessageEvent} */ (event).ports;
  port.addEventListener("message", ({ data }) => {
    if (data === "bye") tabs.delete(port);
    else {
      const isNew = !tabs.has(port);
      tabs.set(port, data === "seen");
      if (isNew && latest && source?.readyState === EventSource.OPEN) port.postMessage(latest);
    }
    decide();
  });
  port.start();
});

/** Whether anybody wants to hear: one who looks, or one who waits for the end of what remains. */
function isWanted() {
  if ([...tabs.values()].includes(true)) return true;
  return tabs.size > 0 && latest !== "" && JSON.parse(latest).next.length > 0;
}

function decide() {
  clearTimeout(timer);
  if (!isWanted()) {
    source?.close();
    source = null;
  } else if (!source) connect();
}

function connect() {
  source = new EventSource(ADDRESS);
  source.addEventListener("queue", ({ data }) => {
    latest = data;
    for (const port of tabs.keys()) port.postMessage(data);
    if (![...tabs.values()].includes(true)) decide();
  });
  source.addEventListener("error", () => {
    for (const port of tabs.keys()) port.postMessage("lost");
    // It connects again by itself, unless the server answered with an error.
    if (source?.readyState !== EventSource.CLOSED) return;
    source = null;
    timer = setTimeout(decide, AGAIN_MILLISECONDS);
  });
}
