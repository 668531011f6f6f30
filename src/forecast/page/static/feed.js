// News from the server: by event stream, by polling when no stream is to be had, and back by itself after a break.

const POLL_MS = 2000;
const RETRY_STREAM_MS = 30000;
// The server sends at least a heartbeat every 10 s: a stream that is silent for longer was swallowed on the way.
const SILENT_MS = 25000;
const EVENTS = ["price", "forecast", "candles", "status"];

/** Calls `onNews(event, data)` for ever and `onState` with connecting, live, polling or lost. */
export function follow(onNews, onState) {
  let source = null;
  let polling = null;
  let heard = 0;

  function open() {
    heard = Date.now();
    source = new EventSource("/live/stream");
    source.onopen = () => {
      heard = Date.now();
      stopPolling();
      onState("live");
    };
    for (const event of EVENTS) {
      source.addEventListener(event, (message) => {
        heard = Date.now();
        onNews(event, JSON.parse(message.data));
      });
    }
    source.addEventListener("beat", () => (heard = Date.now()));
    source.onerror = () => {
      onState("lost");
      startPolling();
      // While it is CONNECTING the browser tries again by itself; CLOSED means that the server declined a stream.
      if (source.readyState === EventSource.CLOSED) later();
    };
  }

  const later = () => setTimeout(open, RETRY_STREAM_MS);

  function watch() {
    if (polling !== null || Date.now() - heard < SILENT_MS) return;
    source.close();
    startPolling();
    later();
  }

  async function poll() {
    try {
      const response = await fetch("/live/state");
      if (!response.ok) throw new Error(response.statusText);
      for (const { event, data } of (await response.json()).news) onNews(event, data);
      if (polling !== null) onState("polling");
    } catch {
      if (polling !== null) onState("lost");
    }
  }

  function startPolling() {
    if (polling !== null) return;
    polling = setInterval(poll, POLL_MS);
    poll();
  }

  function stopPolling() {
    clearInterval(polling);
    polling = null;
  }

  onState("connecting");
  open();
  setInterval(watch, 5000);
}

/** JSON of a GET, or null when the server is away or has nothing. */
export async function get(path, query = {}) {
  try {
    const response = await fetch(`${path}?${new URLSearchParams(query)}`);
    return response.ok ? await response.json() : null;
  } catch {
    return null;
  }
}
