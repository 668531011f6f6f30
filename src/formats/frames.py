"""Whole files as frames for those who want every row right: the first bad row refuses the file."""

import logging
from dataclasses import replace
from pathlib import Path

import polars as pl

from formats.reader import ForeignFile, Numbering
from formats.refusal import LINE, Kind, ReadOptions, RefusedFileError
from formats.survey import Survey
from lakehouse.messages import EVENT_SCHEMA

log = logging.getLogger(__name__)


def read_trades(path: Path, symbol: str | None = None, options: ReadOptions | None = None) -> pl.DataFrame:
    """Trades as events in time order, each id once.

    Raises:
        RefusedFileError: names line, column, what was expected and what is there.
    """
    rows, known, name = _read(path, "trade", symbol, options)
    rising = bool((rows["trade_id"].diff().drop_nulls() > 0).all())
    once = rows if rising else rows.unique("trade_id", keep="first", maintain_order=True)
    if len(once) < len(rows):
        log.warning("%s: %d rows repeat a trade_id and are left out", path, len(rows) - len(once))
    for warning in known.warnings():
        log.warning("%s: %s", path.name, warning)
    return _events(once, "trade", name)


def read_quotes(path: Path, symbol: str | None = None, options: ReadOptions | None = None) -> pl.DataFrame:
    """Best quotes as events in time order.

    Raises:
        RefusedFileError: as `read_trades`.
    """
    rows, _, name = _read(path, "quote", symbol, options)
    return _events(rows, "quote", name)


def read_bars(path: Path, symbol: str | None = None, options: ReadOptions | None = None) -> pl.DataFrame:
    """Minute bars: ts (start of the minute), open, high, low, close, volume, symbol; sorted, each minute once.

    Raises:
        RefusedFileError: as `read_trades`; also where the bars are of another length, or nothing was traded in any.
    """
    rows, known, name = _read(path, "bar", symbol, options)
    twice = rows["ts"].is_duplicated()
    if twice.any():
        row = rows.row(int(twice.arg_max() or 0), named=True)
        raise RefusedFileError(
            f"{path.name}, line {row[LINE]}, column {known.columns['ts']}: want each minute once, "
            f"got {row['ts'].isoformat()}"
        )
    rows = rows.sort("ts")
    check_step(path, rows["ts"])
    still = int((rows["volume"] == 0).sum())
    if still == len(rows):
        raise RefusedFileError(
            f"{path}, column {known.columns['volume']}: want a minute with a trade (volume above 0), "
            f"got {still} without one"
        )
    if still + known.still:
        log.info("%s: %d minutes without a trade count as missing", path, still + known.still)
    return rows.drop(LINE).with_columns(symbol=pl.lit(name))


def check_step(path: Path, ts: pl.Series) -> None:
    """Refuses bars that are not of a minute.

    Raises:
        RefusedFileError: says how far they are apart.
    """
    # The commonest step, not the median: a market that trades in few of its minutes leaves most of them out.
    steps = ts.diff().drop_nulls().dt.total_seconds().mode().sort().to_list()
    if steps and steps[0] != 60:
        raise RefusedFileError(f"{path}, column ts: want minute bars, successive rows are {steps[0]} s apart")


def bar_events(bars: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Bars as events that all arrive at the close: high and low just before it, the close with the volume at it.

    A minute in which nothing was traded is no event, whether the file leaves it out or fills it with the last price: so
    an exchange that was down is a gap, and not a market that stood still.

    Returns:
        All events, and those of the closes alone (the prices that are known in time).
    """
    bars = bars.filter(pl.col("volume") > 0)
    close_at = pl.col("ts") + pl.duration(minutes=1)
    shifts = {"high": -2, "low": -1, "close": 0}
    parts = []
    for name, shift in shifts.items():
        qty = pl.col("volume") if name == "close" else pl.lit(0.0)
        parts.append(bars.select(ts=close_at + pl.duration(microseconds=shift), price=pl.col(name), qty=qty))
    symbol = str(bars["symbol"][0])
    return _events(pl.concat(parts), "trade", symbol), _events(parts[2], "trade", symbol)


def _read(path: Path, kind: Kind, symbol: str | None, options: ReadOptions | None) -> tuple[pl.DataFrame, Survey, str]:
    """All rows of one symbol, what they say, and its name."""
    given = options or ReadOptions()
    pair = given.pair or symbol
    source = ForeignFile(path, kind, replace(given, symbol=symbol, pair=pair))
    known, parts = Survey(source.name, kind), []
    for piece in source.pieces():
        known.offer(piece.name, piece.raw, piece.found, piece.layout, piece.rule)
        parts.append(piece.found.good)
    _refuse(path, known, pair)
    numbers = Numbering(source, known)
    rows = pl.concat([numbers.with_ids(part)[0] for part in parts])
    name = symbol or next(iter(known.symbols), "unnamed")
    return rows, known, name


def _refuse(path: Path, known: Survey, pair: str | None) -> None:
    if known.harmful:
        raise RefusedFileError(known.harmful)
    held = sorted(known.symbols)
    if not known.good and known.others:
        held = sorted(known.others)
        raise RefusedFileError(f"{path}: choose one with --symbol: {', '.join(held)}; it holds no {pair}")
    if pair is None and len(held) > 1:
        raise RefusedFileError(f"{path}: choose one with --symbol: {', '.join(held)}")
    if refused := known.refused():
        raise RefusedFileError(refused)


def _events(frame: pl.DataFrame, kind: str, symbol: str) -> pl.DataFrame:
    """A frame of `EVENT_SCHEMA` in time order; received when it happened."""
    frame = frame.with_columns(type=pl.lit(kind), symbol=pl.lit(symbol), source=pl.lit("file"), received_at="ts")
    order = ["ts", "trade_id"] if kind == "trade" and "trade_id" in frame.columns else ["ts"]
    known = [pl.col(c).cast(t) if c in frame.columns else pl.lit(None, t).alias(c) for c, t in EVENT_SCHEMA.items()]
    return (frame if _is_ordered(frame, order) else frame.sort(order, maintain_order=True)).select(known)


def _is_ordered(frame: pl.DataFrame, columns: list[str]) -> bool:
    """Whether each of the columns rises by itself, as in most files; then there is nothing to sort."""
    return all(frame[column].is_sorted() for column in columns)
