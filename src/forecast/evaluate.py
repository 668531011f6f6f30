"""Evaluates every model and rule on data in files, without any server."""

import logging
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features import engine
from features.spec import NAMES, spec_hash
from forecast.data import dataset
from forecast.data.dataset import Dataset
from forecast.model.targets import TARGETS, Array, PricePath
from forecast.training import backtest
from forecast.training.fitting import Tuning
from forecast.training.walkforward import Schedule
from formats import frames
from formats.refusal import PLAIN, ReadOptions
from lakehouse.errors import LakeError

log = logging.getLogger("forecast.evaluate")
TICK_STEP_S = 5
BAR_STEP_S = 60
SILENCE_S = 900.0
MIN_ROWS = 2000
# A bar tells its prices and its volume; not how many trades of which side made them, nor their mean.
UNTOLD_BY_BARS = tuple(
    name
    for name in NAMES
    if name.rsplit("_", 1)[0] in ("trades", "signed_volume", "vwap", "mean", "std", "momentum") or name.endswith("_10s")
)


def from_ticks(trades: pl.DataFrame, quotes: pl.DataFrame | None, step_s: int = TICK_STEP_S) -> Dataset:
    """Events of one symbol folded by the engine, one row per volatility step, with their truths."""
    events = (trades if quotes is None else pl.concat([trades, quotes])).sort("ts", maintain_order=True)
    sparse = frozenset() if _dense(trades) else frozenset({str(trades["symbol"][0])})
    rows, path, spec = tick_rows(events, step_s, sparse)
    return dataset.build(rows, path, spec, step_s, stale_s=12.0 * step_s)


def tick_rows(
    events: pl.DataFrame, step_s: int, sparse: frozenset[str] = frozenset()
) -> tuple[pl.DataFrame, PricePath, str]:
    """The engine's rows over events in time order, with a bid where no quote is known; the prices; the spec's hash."""
    config = engine.EngineConfig(step_s * 1000, step_s, SILENCE_S, sparse)
    numbered = events.with_columns(epoch=pl.lit(0, pl.Int64), seq=pl.int_range(pl.len(), dtype=pl.Int64))
    _, rows = engine.fold(engine.EngineState.empty(config), numbered)
    path = dataset.price_path(numbered)
    return dataset.with_bid(rows, bids_at(rows, numbered, path)), path, spec_hash(config)


def bids_at(rows: pl.DataFrame, events: pl.DataFrame, path: PricePath) -> Array:
    """The path's bid as of the very event each row is made at: ``seq`` counts the events, which are in time order."""
    # Only events before the first price are not in the path, and those make no row.
    return np.asarray(path.bid[rows["seq"].to_numpy() - (len(events) - len(path.ts))])


def _dense(trades: pl.DataFrame) -> bool:
    ids = trades["trade_id"]
    return bool(ids.max() - ids.min() + 1 == ids.len() and ids.min() >= 0)  # type: ignore[operator]


def from_bars(bars: pl.DataFrame, step_s: int = BAR_STEP_S) -> Dataset:
    """Minute bars folded by the engine as they arrive, at their close; what a bar cannot tell is NULL."""
    events, closes = frames.bar_events(bars)
    symbol = str(bars["symbol"][0])
    config = engine.EngineConfig(60_000, step_s, SILENCE_S, frozenset({symbol}))
    numbered = events.with_columns(epoch=pl.lit(0, pl.Int64), seq=pl.int_range(pl.len(), dtype=pl.Int64))
    _, rows = engine.fold(engine.EngineState.empty(config), numbered)
    # After a missing minute the high, just before the close, opens the interval: only rows as of a close count.
    rows = rows.filter(pl.col("ts") == pl.col("ts").dt.truncate("1m"))
    rows = rows.with_columns(pl.lit(float("nan")).alias(name) for name in UNTOLD_BY_BARS)
    path = dataset.price_path(closes)
    # A bar is known whole at its close, so the close of that very moment counts.
    rows = dataset.with_bid(rows, path.at(path.bid, rows["ts"].to_physical().to_numpy()))
    return dataset.build(rows, path, spec_hash(config), step_s, silence_s=5.0 * step_s)


def evaluate(data: Dataset, plan: Schedule, tuning: Tuning) -> dict[str, Any]:
    """Both targets walked forward and judged; the result is what ``--report`` writes.

    Raises:
        LakeError: too few rows to walk forward on.
    """
    if len(data) < MIN_ROWS:
        raise LakeError(f"only {len(data)} usable rows ({dict(data.counts)}), want at least {MIN_ROWS}: give more data")
    body = describe(data)
    for target in TARGETS:
        body[target] = backtest.report(data, backtest.run(data, target, plan, tuning, log.info))
    return body


def describe(data: Dataset) -> dict[str, Any]:
    """What was evaluated: symbols, span, rows kept and left out, definitions."""
    return {
        "symbols": sorted(set(data.symbols.tolist())),
        "from": _iso(data.ts[0]),
        "to": _iso(data.ts[-1]),
        "rows": dict(data.counts),
        "step_s": data.step_s,
        "spec": data.spec,
        "dataset": data.hash(),
    }


def _iso(micros: int) -> str:
    return str(pl.Series([int(micros)]).cast(pl.Datetime("us", "UTC")).dt.to_string("%Y-%m-%dT%H:%M:%SZ")[0])


def table(body: dict[str, Any]) -> str:
    """The report as text: every model and rule per horizon, the best rule starred, what was served last."""
    lines = [f"{', '.join(body['symbols'])}  {body['from']} to {body['to']}  rows {body['rows']}"]
    for target, key, name in (("vol", "qlike", "QLIKE"), ("bid", "ratio", "RMSE ratio to persistence")):
        horizons = list(body[target])
        lines += ["", f"{target}: {name} per horizon (n = {body[target][horizons[0]]['n']})"]
        lines.append(f"{'':14}" + "".join(f"{h + ' s':>11}" for h in horizons))
        for model in body[target][horizons[0]]["models"]:
            cells = []
            for h in horizons:
                mark = "*" if body[target][h]["best_baseline"] == model else " "
                cells.append(f"{body[target][h]['models'][model][key]:>10.5f}{mark}")
            lines.append(f"{model:14}" + "".join(cells))
        for row in ("ratio", "dm_p", "coverage_80", "coverage_95"):
            lines.append(f"{row:14}" + "".join(f"{body[target][h][row]:>10.4f} " for h in horizons))
        lines.append(f"{'serves now':14}" + "  ".join(body[target][h]["champion"] for h in horizons))
    return "\n".join(lines)


def load(
    trades: Path | None, quotes: Path | None, bars: Path | None, symbol: str | None, options: ReadOptions
) -> Dataset:
    """The dataset made from ``bars``, or from ``trades`` and, where given, ``quotes``.

    Raises:
        LakeError: a file does not do, or the two are of different symbols.
    """
    if bars is not None:
        return from_bars(frames.read_bars(bars, symbol, options))
    if trades is None:
        raise LakeError("no file: give trades (and quotes), or bars")
    dealt = frames.read_trades(trades, symbol, options)
    quoted = frames.read_quotes(quotes, symbol, options) if quotes else None
    if quoted is not None and (ours := dealt["symbol"][0]) != (theirs := quoted["symbol"][0]):
        raise LakeError(f"{trades} holds {ours}, {quotes} holds {theirs}: choose one symbol with --symbol")
    return from_ticks(dealt, quoted)


def prepare(report: Path) -> None:
    """Makes sure that the report can be written, before minutes are spent on what goes into it.

    Raises:
        LakeError: it is a directory, or cannot be made.
    """
    try:
        report.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LakeError(f"--report {report}: cannot create its folder: {error.strerror}; name another path") from error
    if report.is_dir() or not os.access(report if report.exists() else report.parent, os.W_OK):
        why = "is a directory" if report.is_dir() else "must not be written"
        raise LakeError(f"--report {report}: {why}; give the name of a file to write")


def evaluate_files(
    trades: Path | None,
    quotes: Path | None,
    bars: Path | None,
    symbol: str | None,
    folds: int,
    options: ReadOptions = PLAIN,
) -> dict[str, Any]:
    """`load`, then `evaluate`; the report with the ``seconds`` it took.

    Args:
        options: what the user says about the files.

    Raises:
        LakeError: a file does not do, or holds too few rows.
    """
    started = time.monotonic()
    data = load(trades, quotes, bars, symbol, options)
    log.info("rows: %s (%.1f s)", dict(data.counts), time.monotonic() - started)
    return evaluate(data, Schedule(folds=folds), Tuning()) | {"seconds": round(time.monotonic() - started, 1)}
