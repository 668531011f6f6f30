// The page: what is chosen, what is known, and drawing the one from the other.

import { CandleChart, TrackChart } from "./charts.js";
import { follow, get } from "./feed.js";
import { ago, at, decimalsOf, fixed, seconds } from "./format.js";
import { drawFeed, drawForecast, drawModels, drawPrice, drawSkill } from "./tables.js";

const STALE_MS = 15000;
const TRACK_EVERY_MS = 15000;
// How much history a candle length shows before a day is picked.
const LOOK_BACK_H = { "1m": 6, "5m": 24, "15m": 72, "1h": 24 * 14, "1d": 24 * 365 };

const byId = (id) => document.getElementById(id);
const known = { price: {}, forecast: {}, candles: {}, status: null };
const chosen = { symbol: null, interval: "1m", day: "", horizon: 300, window: "1h" };
let config = null;
let charts = null;
let decimals = 2;
let serverAhead = 0;

const now = () => Date.now() + serverAhead;

function segments(id, options, label, current, onChoose) {
  const buttons = options.map((option) => {
    const button = document.createElement("button");
    button.type = "button";
    button.textContent = label(option);
    button.ariaPressed = option === current;
    button.onclick = () => {
      for (const other of buttons) other.ariaPressed = other === button;
      onChoose(option);
    };
    return button;
  });
  byId(id).replaceChildren(...buttons);
}

function span() {
  if (chosen.day) {
    const start = Date.parse(`${chosen.day}T00:00:00Z`);
    return { from: new Date(start).toISOString(), to: new Date(start + 86400000).toISOString() };
  }
  return { from: new Date(now() - LOOK_BACK_H[chosen.interval] * 3600000).toISOString() };
}

async function loadCandles() {
  const asked = { symbol: chosen.symbol, interval: chosen.interval, ...span() };
  for (const format of ["csv", "parquet"]) {
    byId(format).href = `/history/candles?${new URLSearchParams({ ...asked, format })}`;
  }
  byId("live").hidden = !chosen.day;
  const candles = (await get("/history/candles", asked)) ?? [];
  if (asked.symbol !== chosen.symbol || asked.interval !== chosen.interval) return;
  decimals = decimalsOf(candles.slice(-50).flatMap((c) => [c.open, c.close, c.high, c.low]));
  charts.candles.setData(candles, decimals);
  if (known.price[chosen.symbol]) drawPrice(known.price[chosen.symbol], null, decimals);
  drawForecast(known.forecast[chosen.symbol], config.horizons_s, decimals);
  byId("candles").dataset.count = candles.length;
  drawFan();
}

async function loadTracks() {
  const { symbol, horizon } = chosen;
  const query = (target) => ({ symbol, target, horizon_s: horizon, from: new Date(now() - 3600000).toISOString() });
  const [bid, vol] = await Promise.all(["bid", "vol"].map((target) => get("/history/forecasts", query(target))));
  if (symbol !== chosen.symbol || horizon !== chosen.horizon) return;
  if (bid) charts.bid.setData(bid, horizon, decimals);
  if (vol) charts.vol.setData(vol, horizon, 1);
  byId("track-bid").dataset.count = bid?.length ?? 0;
  for (const note of document.querySelectorAll(".ahead")) note.textContent = `${horizon / 60} min`;
}

function drawFan() {
  const forecast = known.forecast[chosen.symbol];
  const bids = forecast?.forecasts.filter((f) => f.target === "bid") ?? [];
  const visible = chosen.interval === "1m" && !chosen.day && bids.length > 0;
  const start = visible ? { time: seconds(forecast.as_of), value: known.price[chosen.symbol]?.bid ?? bids[0].baseline } : null;
  charts.candles.setFan(start ?? { time: 0, value: 0 }, visible ? bids : []);
  byId("fan-note").hidden = !visible;
}

function drawStatus() {
  if (!known.status) return;
  drawModels(known.status.models);
  drawSkill(known.status.skill[chosen.window], chosen.symbol, config.horizons_s);
  drawFeed(known.status, chosen.symbol, known.price[chosen.symbol], now());
}

function drawAge() {
  const price = known.price[chosen.symbol];
  const age = price ? now() - at(price.received_at) : null;
  const stale = age !== null && age > STALE_MS;
  byId("stale").hidden = !stale;
  if (stale) byId("stale").textContent = `Stale: the newest price of ${chosen.symbol} is ${ago(age)} old.`;
  drawStatus();
}

function choose(symbol) {
  chosen.symbol = symbol;
  byId("symbol").textContent = symbol;
  document.title = `${symbol} · Tradelake`;
  if (known.price[symbol]) drawPrice(known.price[symbol], null, decimals);
  drawForecast(known.forecast[symbol], config.horizons_s, decimals);
  drawStatus();
  loadCandles().then(loadTracks);
}

const on = {
  price(price) {
    const before = known.price[price.symbol];
    known.price[price.symbol] = price;
    if (price.symbol !== chosen.symbol) return;
    drawPrice(price, before?.last ?? before?.mid, decimals);
    // The tab tells the price to whoever looks at another one.
    document.title = `${fixed(price.last ?? price.mid, decimals)} ${price.symbol}`;
  },
  forecast(forecast) {
    known.forecast[forecast.symbol] = forecast;
    if (forecast.symbol !== chosen.symbol) return;
    drawForecast(forecast, config.horizons_s, decimals);
    drawFan();
  },
  candles({ symbol, interval, candles }) {
    known.candles[symbol] = candles;
    if (symbol === chosen.symbol && interval === chosen.interval && !chosen.day) charts.candles.update(candles);
  },
  status(status) {
    serverAhead = at(status.now) - Date.now();
    known.status = status;
    drawStatus();
  },
};

function showLink(state) {
  const was = byId("link").dataset.state;
  byId("link").dataset.state = state;
  byId("link").textContent = { connecting: "connecting", live: "live", polling: "live, by polling", lost: "reconnecting" }[state];
  // What was missed while the connection was lost is fetched again.
  if (was === "lost" && state !== "lost") loadCandles().then(loadTracks);
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  for (const chart of Object.values(charts ?? {})) chart.recolour();
}

function setUpTheme() {
  const system = matchMedia("(prefers-color-scheme: dark)");
  const wanted = () => localStorage.getItem("theme") ?? (system.matches ? "dark" : "light");
  setTheme(wanted());
  system.onchange = () => setTheme(wanted());
  byId("theme").onclick = () => {
    localStorage.setItem("theme", document.documentElement.dataset.theme === "dark" ? "light" : "dark");
    setTheme(wanted());
  };
}

function setUpControls() {
  segments("symbols", config.symbols, (s) => s, config.symbols[0], choose);
  segments("intervals", config.intervals, (i) => i, chosen.interval, (interval) => {
    chosen.interval = interval;
    loadCandles();
  });
  segments("horizons", config.horizons_s, (h) => `${h / 60} min`, chosen.horizon, (horizon) => {
    chosen.horizon = horizon;
    loadTracks();
  });
  segments("windows", ["1h", "1d"], (w) => w.replace("h", " hour").replace("d", " day"), chosen.window, (window) => {
    chosen.window = window;
    drawStatus();
  });
  byId("day").max = new Date(now()).toISOString().slice(0, 10);
  byId("day").onchange = () => {
    chosen.day = byId("day").value;
    loadCandles();
  };
  byId("live").onclick = () => {
    chosen.day = byId("day").value = "";
    loadCandles();
  };
}

async function start() {
  setUpTheme();
  while ((config = await get("/live/config")) === null) await new Promise((r) => setTimeout(r, 2000));
  byId("source").textContent = { simulator: "Simulated", kraken: "Kraken" }[config.source];
  byId("source").dataset.source = config.source;
  byId("simulated").hidden = config.source !== "simulator";
  charts = {
    candles: new CandleChart(byId("candles")),
    bid: new TrackChart(byId("track-bid")),
    vol: new TrackChart(byId("track-vol"), 1e4),
  };
  setUpControls();
  choose(config.symbols[0]);
  follow((event, data) => on[event](data), showLink);
  setInterval(drawAge, 1000);
  setInterval(() => document.hidden || loadTracks(), TRACK_EVERY_MS);
}

start();
