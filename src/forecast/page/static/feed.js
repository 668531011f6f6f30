// News from the server: by event stream, by polling when no stream is to be had, and back by itself after a break.

const POLL_MS = 2000;
const RETRY_STREAM_MS = 30000;
const EVENTS = ["price", "forecast", "candles", "status"];

/** Calls `onNews(event, data)` for ever and `onState` with connecting, live, polling or lost. */
export function follow(onNews, onState) {
  let source = null;
  let polling = null;

  function open() {
    source = new EventSource("/live/stream");
    source.onopen = () => {
      stopPolling();
      onState("live");
    };
    for (const event of EVENTS) source.addEventListener(event, (message) => onNews(event, JSON.parse(message.data)));
    source.onerror = () => {
      onState("lost");
      // While it is CONNECTING the browser tries again by itself; CLOSED means that the server declined a stream.
      if (source.readyState !== EventSource.CLOSED) return;
      startPolling();
      setTimeout(open, RETRY_STREAM_MS);
    };
  }

  async function poll() {
    try {
      const response = await fetch("/live/state");
      if (!response.ok) throw new Error(response.statusText);
      for (const { event, data } of (await response.json()).news) onNews(event, data);
      onState("polling");
    } catch {
      onState("lost");
    }
  }

  function startPolling() {
    if (polling === null) polling = setInterval(poll, POLL_MS);
    poll();
  }

  function stopPolling() {
    clearInterval(polling);
    polling = null;
  }

  onState("connecting");
  open();
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
