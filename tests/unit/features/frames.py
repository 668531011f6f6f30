"""Events for the engine's tests: drawn at random with every trouble a feed can make, or read from recorded data."""

import random
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from hypothesis import strategies as st

from features.spec import NAMES
from lakehouse.messages import EVENT_SCHEMA

START = datetime(2026, 3, 1, 22, 59, 30, tzinfo=UTC)
SYMBOLS = ("BTC/USD", "ETH/USD", "OLD/USD")
SPARSE = frozenset({"OLD/USD"})
# Microseconds between events: ties, bursts, exact grid times, quiet minutes, and silences that make streams stale.
STEPS = (0, 0, 1, 700, 250_000, 1_000_000, 5_000_000, 61_000_000, 900_000_001, 3_600_000_000)
HOUR = 3_600_000_000
# Days in which each stream speaks often enough to stay known.
DAYS = (0, 61_000_000, 900_000_001, HOUR // 2, HOUR, HOUR)
# Days with silences that make streams stale, and minutes.
PACES = ((*STEPS, 3 * HOUR, 4 * HOUR + 1, 6 * HOUR), STEPS[:8])


def frame(events: list[dict[str, Any]]) -> pl.DataFrame:
    """Events as a batch: fields not given are null, ``seq`` counts the log."""
    defaults = {"epoch": 1, "source": "ws"}
    rows = [
        dict.fromkeys(EVENT_SCHEMA) | defaults | {"received_at": e["ts"], "seq": i} | e for i, e in enumerate(events)
    ]
    return pl.DataFrame(rows, schema=EVENT_SCHEMA, orient="row")


def trade(ts: datetime, price: float, trade_id: int = 0, qty: float = 1.0, side: str | None = None, **more: Any) -> Any:
    """A trade of BTC/USD unless told otherwise."""
    fields = {"type": "trade", "symbol": "BTC/USD", "price": price, "qty": qty, "side": side, "trade_id": trade_id}
    return {**fields, "ts": ts, **more}


def quote(ts: datetime, bid: float, ask: float, **more: Any) -> Any:
    """A quote of BTC/USD unless told otherwise."""
    fields = {"type": "quote", "symbol": "BTC/USD", "bid": bid, "ask": ask, "bid_qty": 2.0, "ask_qty": 1.0}
    return {**fields, "ts": ts, **more}


def gap(ts: datetime, stream: str, **more: Any) -> Any:
    """The producer lost sight of a stream of BTC/USD unless told otherwise."""
    return {"type": "gap", "symbol": "BTC/USD", "stream": stream, "reason": "test", "ts": ts, **more}


@st.composite
def logs(draw: st.DrawFn, size: int = 80, paces: tuple[tuple[int, ...], ...] = PACES) -> pl.DataFrame:
    """A log of several symbols with ties, late events, holes refilled or not, gaps and silences."""
    steps = draw(st.sampled_from(paces))
    symbols = SYMBOLS[: draw(st.integers(1, 3))]
    moves = draw(
        st.lists(
            st.tuples(
                st.sampled_from(symbols),
                st.sampled_from(("trade", "trade", "trade", "quote", "quote", "gap")),
                st.sampled_from(steps),
                st.sampled_from((0, 0, 0, 0, 1, 3, 12)),  # how many events later it arrives
                st.integers(-3, 3),
                st.booleans(),
            ),
            min_size=draw(st.sampled_from((0, size // 2, size - 5))),
            max_size=size,
        )
    )
    lost = draw(st.sets(st.integers(0, size)))
    return frame(_log(moves, lost, random.Random(draw(st.integers(0, 99)))))


def days(seed: int, size: int = 160) -> pl.DataFrame:
    """Some days of one symbol and one other now and then, with late events and gaps, evenly drawn."""
    rng = random.Random(seed)
    kinds, delays = ("trade",) * 4 + ("quote",) * 3 + ("gap",), (0,) * 8 + (1, 3, 12)
    moves = [
        (
            SYMBOLS[rng.random() < 0.1],
            rng.choice(kinds),
            rng.choice(DAYS),
            rng.choice(delays),
            rng.randint(-3, 3),
            rng.random() < 0.5,
        )
        for _ in range(size)
    ]
    return frame(_log(moves, set(rng.sample(range(size), 3)), rng))


def _log(moves: list[Any], lost: set[int], rng: random.Random) -> list[dict[str, Any]]:
    ts, ids, arriving = START, dict.fromkeys(SYMBOLS, 100), []
    for i, (symbol, kind, step, delay, ticks, flag) in enumerate(moves):
        ts += timedelta(microseconds=step)
        price = 50_000.0 + ticks * 0.1 + (rng.random() if flag else 0.0)
        event: dict[str, Any]
        if kind == "trade":
            ids[symbol] += 1
            side = rng.choice(("buy", "sell", None))
            event = trade(ts, price, ids[symbol], rng.choice((0.0, 0.001, 2.5)), side)
        elif kind == "quote":
            event = quote(ts, price, price + 0.1, volume=7.0 if flag else None)
        else:
            event = gap(ts, "ticker" if flag else "trade")
        if i not in lost:
            arriving.append((i + (0 if kind == "gap" else delay), i, event | {"symbol": symbol}))
    return [event for _, _, event in sorted(arriving, key=lambda x: x[:2])]


def recorded(path: Path, kind: str, symbol: str | None = None) -> pl.DataFrame:
    """A file of recorded trades or quotes as a batch."""
    data = pl.read_parquet(path)
    if symbol:
        data = data.with_columns(symbol=pl.lit(symbol))
    data = data.with_columns(type=pl.lit(kind), received_at="ts", epoch=pl.lit(1, pl.Int64))
    missing = {name: pl.lit(None, dtype) for name, dtype in EVENT_SCHEMA.items() if name not in data.columns}
    return numbered(data.with_columns(**missing).select(list(EVENT_SCHEMA)))


def numbered(events: pl.DataFrame) -> pl.DataFrame:
    """The events with ``seq`` counting the log."""
    return events.with_columns(seq=pl.int_range(pl.len(), dtype=pl.Int64))


def differences(rows: pl.DataFrame, expected: pl.DataFrame) -> list[str]:
    """What differs between two frames of rows by more than relative 1e-9; columns that may cancel get their scale."""
    assert rows.columns == expected.columns
    if rows.height != expected.height:
        return [f"{rows.height} rows instead of {expected.height}"]
    found = [
        f"{name}: {rows[name].to_list()} != {expected[name].to_list()}"
        for name in rows.columns
        if name not in NAMES and not rows[name].equals(expected[name])
    ]
    for name in NAMES:
        a, b = rows[name].to_numpy(), expected[name].to_numpy()
        size = np.fmax(np.abs(a), np.abs(b))
        if name.startswith("signed_volume"):
            size = size + 1 + np.nan_to_num(expected[name.removeprefix("signed_")].to_numpy())
        elif name.startswith("momentum"):
            size = size + 1e-2
        elif name.startswith("std"):
            # Prices are known to about 1e-16 of themselves, and so is what they deviate by, however little that is.
            size = size + 1e-6 * np.nan_to_num(expected[name.replace("std", "mean")].to_numpy())
        wrong = (np.isnan(a) != np.isnan(b)) | (np.abs(a - b) > 1e-9 * size)
        found += [f"row {i} {name}: {a[i]} != {b[i]}" for i in np.flatnonzero(wrong)[:3]]
    return found
