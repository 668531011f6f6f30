// The tables beside the chart, each drawn anew from the newest data.

import { ago, at, basisPoints, clock, fixed, percent, put, signedPercent } from "./format.js";

const byId = (id) => document.getElementById(id);
const minutes = (s) => `${s / 60} min`;

function rows(table, count) {
  const body = byId(table).tBodies[0];
  const columns = byId(table).tHead.rows[0].cells.length;
  while (body.rows.length < count) {
    const row = body.insertRow();
    for (let i = 0; i < columns; i++) row.insertCell();
  }
  while (body.rows.length > count) body.deleteRow(-1);
  return [...body.rows];
}

export function drawPrice(price, before, decimals) {
  const last = price.last ?? price.mid;
  put(byId("last"), fixed(last, decimals), last);
  byId("last").className = before == null || before === last ? byId("last").className : last > before ? "up" : "down";
  put(byId("bid"), fixed(price.bid, decimals), price.bid);
  put(byId("ask"), fixed(price.ask, decimals), price.ask);
  const spread = price.bid && price.ask ? (price.ask - price.bid) / ((price.ask + price.bid) / 2) : null;
  put(byId("spread"), basisPoints(spread), spread);
  put(byId("ts"), clock(price.ts));
}

export function drawForecast(forecast, horizons, decimals) {
  put(byId("as-of"), forecast ? `as of ${clock(forecast.as_of)}` : "none yet");
  byId("forecast").dataset.seq = forecast?.seq ?? "";
  const find = (target, horizon) => forecast?.forecasts.find((f) => f.target === target && f.horizon_s === horizon);
  rows("forecast", horizons.length).forEach((row, i) => {
    const [bid, vol] = [find("bid", horizons[i]), find("vol", horizons[i])];
    put(row.cells[0], minutes(horizons[i]));
    put(row.cells[1], fixed(bid?.value, decimals), bid?.value);
    put(row.cells[2], bid ? `${fixed(bid.lower, decimals)} – ${fixed(bid.upper, decimals)}` : "–");
    put(row.cells[3], basisPoints(vol?.value), vol?.value);
    row.cells[3].title = vol ? `80 %: ${basisPoints(vol.lower)} – ${basisPoints(vol.upper)}` : "";
  });
}

export function drawSkill(skill, symbol, horizons) {
  const find = (target, horizon) =>
    skill.find((s) => s.symbol === symbol && s.target === target && s.horizon_s === horizon);
  rows("skill", horizons.length).forEach((row, i) => {
    put(row.cells[0], minutes(horizons[i]));
    ["bid", "vol"].forEach((target, j) => {
      const found = find(target, horizons[i]);
      const [cell, coverage] = [row.cells[1 + 2 * j], row.cells[2 + 2 * j]];
      put(cell, signedPercent(found?.skill), found?.skill);
      cell.className = found?.skill > 0.0005 ? "good" : found?.skill < -0.0005 ? "bad" : "";
      cell.title = found ? `${found.n} forecasts judged` : "none judged yet";
      put(coverage, percent(found?.coverage_80, 0), found?.coverage_80);
    });
  });
}

function list(id, entries) {
  const items = entries.map(([name, text, value, warn]) => {
    const [item, term, detail] = ["div", "dt", "dd"].map((tag) => document.createElement(tag));
    term.textContent = name;
    put(detail, text, value);
    detail.id = `${id}-${name.toLowerCase().replaceAll(" ", "-")}`;
    if (warn) detail.className = "warn";
    item.append(term, detail);
    return item;
  });
  byId(id).replaceChildren(...items);
}

export function drawModels(models) {
  const entries = [];
  for (const [target, { serving, candidate }] of Object.entries(models)) {
    const text = serving ? `version ${serving.version}, ${serving.name}` : "none yet";
    entries.push([target === "bid" ? "Bid" : "Volatility", text, serving?.version, !serving]);
    if (candidate) entries.push([`Coming ${target}`, `version ${candidate.version} ${candidate.state}`, null, candidate.state === "refused"]);
  }
  list("models", entries);
}

export function drawFeed(status, symbol, price, now) {
  const feed = status.feed.find((f) => f.symbol === symbol);
  const { p50_ms, p99_ms, n } = status.latency;
  list("feed", [
    ["Newest event", price ? `${ago(now - at(price.received_at))} ago` : "none yet", null, !price],
    ["Complete minutes", feed ? `${feed.complete} of ${feed.minutes}` : "–", feed?.complete, feed && feed.complete < feed.minutes - 1],
    ["Missing trades", feed?.missing == null ? "not known" : String(feed.missing), feed?.missing, feed?.missing > 0],
    ["Doubled trades", feed ? String(feed.doubles) : "–", feed?.doubles, feed?.doubles > 0],
    ["Event to forecast", n ? `${fixed(p50_ms, 0)} ms, worst 1 %: ${fixed(p99_ms, 0)} ms` : "–", p50_ms],
  ]);
}
