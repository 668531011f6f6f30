"""How fast `engine.fold` is: over a recorded week against a plain numpy fold, per symbol, live, late, and in memory."""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from features.engine import EngineConfig, EngineState, fold
from lakehouse.messages import EVENT_SCHEMA

DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "trades_bitflyer_btcjpy_2018-01-20_26.parquet"
WINDOWS = (10, 60, 300, 900, 3600)
RATE = 200  # events per second of market time


def as_events(trades: pl.DataFrame) -> pl.DataFrame:
    """Trades as a batch of events."""
    trades = trades.with_columns(
        type=pl.lit("trade"),
        received_at="ts",
        epoch=pl.lit(1, pl.Int64),
        seq=pl.int_range(pl.len(), dtype=pl.Int64),
    )
    missing = {name: pl.lit(None, dtype) for name, dtype in EVENT_SCHEMA.items() if name not in trades.columns}
    return trades.with_columns(**missing).select(list(EVENT_SCHEMA))


def dense(start: int, count: int, symbols: int = 1, rate: int = RATE) -> pl.DataFrame:
    """Trades start..start+count of an even market of ``rate`` events per second, dealt out to the symbols."""
    rng = np.random.default_rng(start)
    number = np.arange(start, start + count)
    epoch = int(datetime(2026, 3, 1, tzinfo=UTC).timestamp() * 1e6)
    trades = pl.DataFrame(
        {
            "ts": epoch + number * 1_000_000 // rate,
            "symbol": [f"S{i % symbols}/USD" for i in range(count)],
            "trade_id": number // symbols + 1,
            "price": 50_000.0 + np.round(rng.standard_normal(count) * 5, 1),
            "qty": np.round(rng.exponential(0.1, count), 8),
            "side": np.where(rng.random(count) < 0.5, "buy", "sell"),
        }
    )
    return as_events(trades.with_columns(pl.col("ts").cast(pl.Datetime("us", "UTC"))))


def seconds(action: Callable[[], object], repeats: int = 3) -> dict[str, float]:
    """The best of some runs, on the wall clock and in CPU time (which others on the machine disturb less)."""
    wall, cpu = [], []
    for _ in range(repeats):
        w, c = time.perf_counter(), time.process_time()
        action()
        wall.append(time.perf_counter() - w)
        cpu.append(time.process_time() - c)
    return {"wall": min(wall), "cpu": min(cpu)}


def folded(events: pl.DataFrame, interval_ms: int = 1000) -> Callable[[], object]:
    """A fold of everything from an empty state."""
    config = EngineConfig(interval_ms, sparse=frozenset({"BTC/JPY"}))
    return lambda: fold(EngineState.empty(config), events)


def plain_numpy(events: pl.DataFrame) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    """The limit: seven columns over five windows and four more by cumulative sums, one row per event, no care taken."""
    ts = events["ts"].to_physical().to_numpy()
    price, qty = events["price"].to_numpy(), events["qty"].to_numpy()
    signed = qty * ((events["side"] == "buy").cast(pl.Int8) - (events["side"] == "sell").cast(pl.Int8)).to_numpy()
    sums = [np.concatenate([[0.0], np.cumsum(x)]) for x in (qty, signed, price, price * price, price * qty)]
    end = np.arange(1, len(ts) + 1)
    columns = [price, qty, signed, np.log(price)]
    for window in WINDOWS:
        start = np.searchsorted(ts, ts - window * 1_000_000, side="right")
        n = end - start
        volume, flow, total, squares, notional = (s[end] - s[start] for s in sums)
        mean = total / n
        spread = np.sqrt(np.maximum(squares / n - mean * mean, 0))
        columns += [n, volume, flow, notional / np.maximum(volume, 1e-12), mean, spread]
        columns += [np.log(price / price[np.maximum(start - 1, 0)])]
    return np.stack(columns)


def live() -> dict[str, float]:
    """Milliseconds per small batch once an hour of trades is held, rows at every second."""
    state, _ = fold(EngineState.empty(EngineConfig()), dense(0, 3600 * RATE))
    out: dict[str, float] = {}
    for size in (1, 20):
        start, costs = 3600 * RATE, []
        for i in range(400):
            batch = dense(start + i * size, size)
            t = time.perf_counter()
            state, _ = fold(state, batch)
            costs.append(1e3 * (time.perf_counter() - t))
        out |= {
            f"batch_{size}_p50_ms": float(np.median(costs)),
            f"batch_{size}_p99_ms": float(np.quantile(costs, 0.99)),
        }
    return out


def memory(events: int) -> dict[str, float]:
    """Resident megabytes after each fifth of the events, in batches of 20,000, rows thrown away."""
    state, process = EngineState.empty(EngineConfig()), psutil.Process()
    sizes = []
    for start in range(0, events, 20_000):
        state, _ = fold(state, dense(start, 20_000))
        if (start + 20_000) % (events // 5) == 0:
            sizes.append(round(process.memory_info().rss / 1e6, 1))
    held = sum(array.nbytes for array in state.books["S0/USD"])
    return {f"rss_mb_{i + 1}": size for i, size in enumerate(sizes)} | {"book_mb": round(held / 1e6, 1)}


def cold_start() -> float:
    """Seconds until the first rows of a process that finds no compiled code."""
    code = "from bench.features import dense, folded; folded(dense(0, 10))()"
    with tempfile.TemporaryDirectory() as folder:
        t = time.perf_counter()
        subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, "NUMBA_CACHE_DIR": folder})
        return time.perf_counter() - t


def main() -> None:
    """Runs everything; the last line is JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trades", type=Path, default=DATA, help="Parquet file: ts symbol trade_id price qty side")
    parser.add_argument("--memory-events", type=int, default=5_000_000)
    parser.add_argument("--cold", action="store_true", help="also time a start without compiled code")
    args = parser.parse_args()
    t = time.perf_counter()
    folded(dense(0, 10))()
    out: dict[str, float] = {"first_call_s": time.perf_counter() - t}
    week = as_events(pl.read_parquet(args.trades))
    out["events"] = len(week)
    runs = {"fold": seconds(folded(week)), "plain": seconds(lambda: plain_numpy(week))}
    for share in (4, 2):
        runs[f"fold_1_{share}"] = seconds(folded(week.head(len(week) // share)))
    runs["fold_every_event"] = seconds(folded(week, 0), 1)
    for symbols in (1, 4, 16):
        runs[f"fold_{symbols}_symbols"] = seconds(folded(dense(0, 400_000, symbols)))
    late = dense(0, 400_000).with_columns(seq=pl.col("seq") + pl.when(pl.col("seq") % 10 == 0).then(3).otherwise(0))
    runs["fold_tenth_late"] = seconds(folded(late.sort("seq", maintain_order=True)))
    runs["fold_dense_every_event"] = seconds(folded(dense(0, 200_000), 0), 1)
    counts = {"fold_1_4": len(week) // 4, "fold_1_2": len(week) // 2, "fold_dense_every_event": 200_000}
    for name, took in runs.items():
        n = counts.get(name, 400_000 if "symbols" in name or "late" in name else len(week))
        out |= {f"{name}_{clock}_per_s": round(n / took[clock]) for clock in ("wall", "cpu")}
        print(
            f"{name:24} {n / took['wall']:12,.0f} events/s wall {n / took['cpu']:12,.0f} events/s cpu", file=sys.stderr
        )
    out["ratio"] = round(runs["plain"]["cpu"] / runs["fold"]["cpu"], 3)
    out |= live() | memory(args.memory_events)
    if args.cold:
        out["cold_start_s"] = cold_start()
    print(json.dumps({name: round(value, 3) for name, value in out.items()}))


if __name__ == "__main__":
    main()
