"""The features again, slow and obvious: plain lists, plain loops, exact sums; written from the definitions alone."""

import math
from bisect import bisect_right, insort
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import polars as pl

from features.spec import NAMES, EngineConfig

Row = dict[str, Any]
NAN = math.nan
SECOND = 1_000_000
MINUTE = 60 * SECOND
HOUR = 60 * MINUTE
STALE = 4 * HOUR
FRESH = 60 * SECOND
SHORT = {"10s": 10, "1m": 60, "5m": 300, "15m": 900, "1h": 3600}
LONG = {"4h": 240, "24h": 1440}  # minutes
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
H24 = ("last", "volume", "vwap", "low", "high", "change", "change_pct")


def micros(time: datetime) -> int:
    """Microseconds since 1970, exactly."""
    return (time - EPOCH) // timedelta(microseconds=1)


@dataclass
class Market:
    """All that has arrived for one symbol, kept for ever."""

    config: EngineConfig
    symbol: str
    trades: list[tuple[int, int, Row]] = field(default_factory=list)  # (ts, arrival, event), by ts then arrival
    quotes: list[tuple[int, int, Row | None]] = field(default_factory=list)  # the same; None: a gap, nothing is known
    missing: dict[int, int] = field(default_factory=dict)  # trade id -> time of the trade that showed it missing
    since: dict[str, int] = field(default_factory=dict)
    seen: dict[str, int] = field(default_factory=dict)  # newest time per stream
    lost: dict[str, int] = field(default_factory=dict)  # streams out of sight, since when
    broken: int = -(10**18)  # end of the newest quote gap or silence
    newest: int | None = None
    newest_id: int = 0
    interval: int = -1
    arrivals: int = 0

    def take(self, event: Row) -> bool:
        """Takes the event in; says whether a row is due."""
        self.arrivals += 1
        if event["type"] == "gap":
            self._gap(event)
            return False
        ts = micros(event["ts"])
        late = self.newest is not None and ts < self.newest
        sparse = self.symbol in self.config.sparse
        if sparse and self.newest is not None and ts - self.newest > self.config.silence_s * SECOND:
            self.broken = ts
        self.newest = ts if self.newest is None else max(self.newest, ts)
        if event["type"] == "trade":
            self._trade(ts, event, sparse)
        else:
            self._quote(ts, event)
        if late:
            return False
        if self.config.interval_ms == 0:
            return True
        interval = ts // (self.config.interval_ms * 1000)
        due, self.interval = interval > self.interval, max(interval, self.interval)
        return due

    def _gap(self, event: Row) -> None:
        if self.newest is None:
            return
        self.lost[event["stream"]] = self.newest
        if event["stream"] == "ticker":
            insort(self.quotes, (self.newest, self.arrivals, None), key=lambda q: q[:2])

    def _found(self, stream: str, ts: int, proven: bool) -> int:
        """A stream speaks: its clock starts if it was silent too long, a gap ends; returns when the gap was."""
        lost = self.lost.pop(stream, -(10**18))
        if stream not in self.seen or ts - self.seen[stream] > STALE:
            self.since[stream] = ts
        elif lost > 0 and not proven:
            self.broken = max(self.broken, lost, ts)
        self.seen[stream] = max(self.seen.get(stream, ts), ts)
        return lost

    def _trade(self, ts: int, event: Row, sparse: bool) -> None:
        dense = not sparse and event["trade_id"] > 0
        self._found("trade", ts, proven=dense)
        insort(self.trades, (ts, self.arrivals, event), key=lambda x: x[:2])
        if not dense:
            return
        if self.newest_id:
            self.missing |= dict.fromkeys(range(self.newest_id + 1, event["trade_id"]), ts)
        self.missing.pop(event["trade_id"], None)
        self.newest_id = max(self.newest_id, event["trade_id"])

    def _quote(self, ts: int, event: Row) -> None:
        assert self.newest is not None
        if self.newest - ts > STALE:
            return
        lost = self._found("ticker", ts, proven=False)
        insort(self.quotes, (max(ts, lost), self.arrivals, event), key=lambda q: q[:2])

    def known(self, stream: str, t: int) -> int | None:
        """Since when the stream is known, or None while it is not."""
        return self.since[stream] if stream in self.seen and t - self.seen[stream] <= STALE else None

    def trades_in(self, after: int, until: int) -> list[Row]:
        """Trades in (after, until], in the order of time."""
        low = bisect_right(self.trades, after, key=lambda x: x[0])
        return [event for _, _, event in self.trades[low : bisect_right(self.trades, until, key=lambda x: x[0])]]

    def trade_at(self, time: int) -> float:
        """Price of the last trade at or before ``time``."""
        i = bisect_right(self.trades, time, key=lambda x: x[0])
        return self.trades[i - 1][2]["price"] if i else NAN

    def price_at(self, time: int) -> tuple[float, str]:
        """The grid's price at ``time``: the mid if a quote is known, else the last trade's price."""
        i = bisect_right(self.quotes, time, key=lambda q: q[0])
        if i and self.quotes[i - 1][2] is not None and time - self.quotes[i - 1][0] <= STALE:
            quote = self.quotes[i - 1][2]
            assert quote is not None
            return (quote["bid"] + quote["ask"]) / 2, "mid"
        i = bisect_right(self.trades, time, key=lambda x: x[0])
        if i and time - self.trades[i - 1][0] <= STALE:
            return self.trades[i - 1][2]["price"], "trade"
        return NAN, "unknown"


def oracle_rows(events: pl.DataFrame, config: EngineConfig, every: int = 1) -> Iterable[tuple[int, Row]]:
    """Number and content of every ``every``-th row that the events cause."""
    markets: dict[str, Market] = {}
    row = 0
    for event in events.iter_rows(named=True):
        market = markets.setdefault(event["symbol"], Market(config, event["symbol"]))
        if market.take(event):
            if row % every == 0:
                yield row, features_of(market, micros(event["ts"]), event)
            row += 1


def features_of(m: Market, t: int, event: Row) -> Row:
    """The whole row as of ``event`` at ``t``."""
    row: Row = dict.fromkeys(NAMES, NAN)
    row |= {name: event[name] for name in ("ts", "received_at", "symbol", "epoch", "seq")}
    row["complete"] = _complete(m, t)
    trade_since = m.known("trade", t)
    if trade_since is not None:
        row["last"] = m.trades[-1][2]["price"]
        row["trade_age"] = (t - m.trades[-1][0]) / SECOND
        for name, seconds in SHORT.items():
            if trade_since <= t - seconds * SECOND:
                row |= _window(m, t, name, seconds * SECOND)
        for name, minutes in LONG.items():
            if trade_since <= t - minutes * MINUTE:
                row |= _long(m, t, name, minutes)
    starts = [s for s in (trade_since, m.known("ticker", t)) if s is not None]
    row |= _variance(m, t, min(starts)) | _quotes(m, t) | _clock(t)
    return row


def _complete(m: Market, t: int) -> bool:
    edge = t - HOUR - m.config.vol_step_s * SECOND
    starts = [m.known(stream, t) for stream in ("trade", "ticker")]
    return (
        all(ts <= edge for ts in m.missing.values())
        and m.broken <= edge
        and all(t - lost > STALE for lost in m.lost.values())
        and all(start is None or start <= edge for start in starts)
        and (m.known("ticker", t) is None or t - m.quotes[-1][0] <= FRESH)
    )


def _totals(trades: list[Row], name: str) -> Row:
    signed = {"buy": 1, "sell": -1}
    return {
        f"trades_{name}": float(len(trades)),
        f"volume_{name}": math.fsum(x["qty"] for x in trades),
        f"signed_volume_{name}": math.fsum(signed.get(x["side"], 0) * x["qty"] for x in trades),
    }


def _window(m: Market, t: int, name: str, span: int) -> Row:
    trades = m.trades_in(t - span, t)
    row = _totals(trades, name)
    last, before = m.trade_at(t), m.trade_at(t - span)
    row[f"ret_{name}"] = math.log1p((last - before) / before)
    if not trades:
        return row
    prices = [x["price"] for x in trades]
    mean = math.fsum(prices) / len(prices)
    if row[f"volume_{name}"] > 0:
        row[f"vwap_{name}"] = math.fsum(x["price"] * x["qty"] for x in trades) / row[f"volume_{name}"]
    return row | {
        f"range_bps_{name}": 1e4 * (max(prices) - min(prices)) / last,
        f"mean_{name}": mean,
        f"std_{name}": math.sqrt(math.fsum((p - mean) ** 2 for p in prices) / len(prices)),
        f"min_{name}": min(prices),
        f"max_{name}": max(prices),
        f"momentum_{name}": 1e4 * (last / mean - 1),
    }


def _long(m: Market, t: int, name: str, minutes: int) -> Row:
    start = (t // MINUTE - minutes + 1) * MINUTE
    row = _totals(m.trades_in(start - 1, t), name)
    before = m.trade_at(start)
    return row | {f"ret_{name}": math.log1p((m.trade_at(t) - before) / before)}


def _squared(m: Market, k: int, step: int) -> float:
    (before, kind), (after, kind_after) = m.price_at((k - 1) * step), m.price_at(k * step)
    return math.log1p((after - before) / before) ** 2 if kind == kind_after != "unknown" else 0.0


def _variance(m: Market, t: int, since: int) -> Row:
    step = m.config.vol_step_s * SECOND
    head, minute, per = t // step, t // MINUTE, MINUTE // step
    known = [k for k in range((minute - 1439) * per, head + 1) if (k - 1) * step >= since]
    r2 = {k: _squared(m, k, step) for k in range(head - 86_400 * SECOND // step + 1, head + 1)}
    r2 |= {k: _squared(m, k, step) for k in known if k not in r2}
    row: Row = {}

    def total(first: int, last: int) -> float:
        return math.fsum(r2[k] for k in range(first, last + 1)) if (first - 1) * step >= since else NAN

    for name, seconds in SHORT.items():
        n, rest = divmod(seconds * SECOND, step)
        row[f"rv_{name}"] = NAN if rest or not n else total(head - n + 1, head)
        if not math.isnan(row[f"rv_{name}"]):
            weighted = [(0.5 ** (4 * j * step / (seconds * SECOND)), m.price_at((head - j) * step)) for j in range(n)]
            weighted = [(w, price) for w, price in weighted if price[1] != "unknown"]
            if weighted:
                row[f"ema_{name}"] = math.fsum(w * p[0] for w, p in weighted) / math.fsum(w for w, _ in weighted)
    for name, minutes in LONG.items():
        row[f"rv_{name}"] = total((minute - minutes + 1) * per, head)
    for half in (5, 15, 30, 60, 120, 240):
        weights = [0.5 ** ((minute - k // per) / half) for k in known]
        if known:
            mean = math.fsum(w * r2[k] for w, k in zip(weights, known, strict=True)) / math.fsum(weights)
            row[f"ewma_rv_{half}m"] = mean * per
    oldest = head - 86_400 * SECOND // step + 1
    row["rv_tod"] = total(oldest, oldest + 5 * per - 1) / 5
    return row


def _quotes(m: Market, t: int) -> Row:
    ts, _, quote = m.quotes[-1] if m.quotes else (0, 0, None)
    if quote is None or t - ts > STALE:
        return {}
    bid, ask, bid_qty, ask_qty = (quote[name] for name in ("bid", "ask", "bid_qty", "ask_qty"))
    row: Row = {"bid": bid, "ask": ask, "bid_qty": bid_qty, "ask_qty": ask_qty}
    row |= {f"h24_{name}": NAN if quote[name] is None else quote[name] for name in H24}
    row |= {"mid": (bid + ask) / 2, "spread_bps": 1e4 * (ask - bid) / ((bid + ask) / 2), "quote_age": (t - ts) / SECOND}
    if bid_qty + ask_qty > 0:
        row["imbalance"] = (bid_qty - ask_qty) / (bid_qty + ask_qty)
        row["microprice"] = (bid * ask_qty + ask * bid_qty) / (bid_qty + ask_qty)
    return row


def _clock(t: int) -> Row:
    time = EPOCH + timedelta(microseconds=t)
    phase = 2 * math.pi * (time - time.replace(hour=0, minute=0, second=0, microsecond=0)).total_seconds() / 86_400
    return {"tod_sin": math.sin(phase), "tod_cos": math.cos(phase), "dow": float(time.weekday())}
