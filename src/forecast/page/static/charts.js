// The charts: candles with the forecast fan, and past forecasts beside what happened.

import {
  CandlestickSeries,
  createChart,
  CrosshairMode,
  HistogramSeries,
  LineSeries,
  LineStyle,
} from "./vendor/lightweight-charts.mjs";
import { Band } from "./band.js";
import { seconds } from "./format.js";

const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();

function theme() {
  const line = { color: colour("line") };
  return {
    layout: { background: { color: "transparent" }, textColor: colour("muted"), fontFamily: "system-ui, sans-serif" },
    grid: { vertLines: line, horzLines: line },
    rightPriceScale: { borderColor: colour("line") },
    timeScale: { borderColor: colour("line"), timeVisible: true, secondsVisible: false },
    crosshair: { mode: CrosshairMode.Normal },
  };
}

// Few candles are not blown up, and of many the newest are shown; the rest is a scroll away.
const LEAST_BARS = 50;
const MOST_BARS = 110;
const quiet = { priceLineVisible: false, lastValueVisible: false, crosshairMarkerVisible: false };

/** Strictly ascending times, as the library wants them; of equal ones the last counts. */
function ascending(points) {
  return [...new Map(points.map((p) => [p.time, p])).values()].sort((a, b) => a.time - b.time);
}

class Forecast {
  // A forecast line with its two bands; `series` lends them its scales.
  constructor(chart) {
    this.line = chart.addSeries(LineSeries, { ...quiet, lineWidth: 2, color: colour("accent") });
    this.wide = new Band(colour("band-95"));
    this.narrow = new Band(colour("band"));
    this.line.attachPrimitive(this.wide);
    this.line.attachPrimitive(this.narrow);
  }

  recolour() {
    this.line.applyOptions({ color: colour("accent") });
    this.wide.setColour(colour("band-95"));
    this.narrow.setColour(colour("band"));
  }

  setData(points) {
    this.line.setData(points.map(({ time, value }) => ({ time, value })));
    this.narrow.setData(points.map((p) => ({ time: p.time, low: p.lower, high: p.upper })));
    this.wide.setData(points.map((p) => ({ time: p.time, low: p.lower_95, high: p.upper_95 })));
  }
}

export class CandleChart {
  constructor(element) {
    this.chart = createChart(element, { autoSize: true, ...theme() });
    this.forecast = new Forecast(this.chart);
    this.candles = this.chart.addSeries(CandlestickSeries, { borderVisible: false });
    this.volume = this.chart.addSeries(HistogramSeries, { ...quiet, priceScaleId: "", priceFormat: { type: "volume" } });
    this.volume.priceScale().applyOptions({ scaleMargins: { top: 0.86, bottom: 0 } });
    this.recolour();
  }

  recolour() {
    this.chart.applyOptions(theme());
    const [up, down] = [colour("up"), colour("down")];
    this.candles.applyOptions({ upColor: up, downColor: down, wickUpColor: up, wickDownColor: down });
    this.volume.applyOptions({ color: colour("line") });
    this.forecast.recolour();
  }

  setData(candles, decimals) {
    const priceFormat = { type: "price", precision: decimals, minMove: 10 ** -decimals };
    this.candles.applyOptions({ priceFormat });
    this.forecast.line.applyOptions({ priceFormat });
    this.candles.setData(candles.map(candle));
    this.volume.setData(candles.map(volume));
    const shown = Math.min(MOST_BARS, Math.max(LEAST_BARS, candles.length));
    this.chart.timeScale().setVisibleLogicalRange({ from: candles.length - shown, to: candles.length + 7 });
  }

  /** Replaces the newest candles; older ones than the chart's last are left alone. */
  update(candles) {
    const last = this.candles.data().at(-1)?.time ?? 0;
    for (const c of candles.filter((c) => seconds(c.ts) >= last)) {
      this.candles.update(candle(c));
      this.volume.update(volume(c));
    }
  }

  /** The forecasts from now on, on the minutes they are for; an empty list removes the fan. */
  setFan(now, forecasts) {
    const minute = (s) => s - (s % 60);
    const ahead = forecasts.map((f) => ({ time: minute(now.time + f.horizon_s), ...f }));
    const start = { time: minute(now.time), value: now.value };
    for (const edge of ["lower", "upper", "lower_95", "upper_95"]) start[edge] = now.value;
    this.forecast.setData(ahead.length ? ascending([start, ...ahead]) : []);
  }
}

const candle = (c) => ({ time: seconds(c.ts), open: c.open, high: c.high, low: c.low, close: c.close });
const volume = (c) => ({ time: seconds(c.ts), value: c.volume });

export class TrackChart {
  constructor(element, scale = 1) {
    this.scale = scale;
    // The library's mark stands on the candles and in the footer; once is enough.
    this.chart = createChart(element, { autoSize: true, ...theme() });
    this.chart.applyOptions({ layout: { attributionLogo: false } });
    this.forecast = new Forecast(this.chart);
    this.truth = this.chart.addSeries(LineSeries, { ...quiet, lineWidth: 1, lineStyle: LineStyle.Solid });
    this.recolour();
  }

  recolour() {
    this.chart.applyOptions(theme());
    this.truth.applyOptions({ color: colour("ink") });
    this.forecast.recolour();
  }

  /** Rows of /history/forecasts, each drawn at the time it speaks of. */
  setData(rows, horizon, decimals) {
    const priceFormat = { type: "price", precision: decimals, minMove: 10 ** -decimals };
    this.truth.applyOptions({ priceFormat });
    this.forecast.line.applyOptions({ priceFormat });
    const scaled = (row) =>
      Object.fromEntries(["value", "lower", "upper", "lower_95", "upper_95"].map((n) => [n, row[n] * this.scale]));
    const time = (row) => seconds(row.ts) + horizon;
    this.forecast.setData(ascending(rows.map((row) => ({ time: time(row), ...scaled(row) }))));
    const known = rows.filter((row) => row.truth != null);
    this.truth.setData(ascending(known.map((row) => ({ time: time(row), value: row.truth * this.scale }))));
    this.chart.timeScale().fitContent();
  }
}
