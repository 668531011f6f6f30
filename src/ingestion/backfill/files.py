"""Reads trades or quotes out of Parquet, CSV or zipped CSV files, a piece at a time, without losing a line."""

import io
import itertools
import zipfile
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow.parquet as pq

from ingestion.backfill.columns import LINE, Kind, Layout, layout_of, of_symbol, typed
from ingestion.kraken_rest import rest_pair
from lakehouse.errors import FatalError

CHUNK = 100_000
_SAMPLE = 50
# Kraken's own downloads: time & sales, and the newer quarterly files, whose header names fewer columns than rows have.
_TIME_AND_SALES = ("time", "price", "volume")
_QUARTERLY = ("price", "volume", "time", "side", "type", "misc", "trade_id")


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not taken: its number in the file, its text, and why."""

    line: int
    text: str
    reason: str


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece of a file.

    Attributes:
        good: ``line`` and the fields of the kind, in the file's order.
        bad: rows that are not taken.
        others: how many rows of each other symbol were left out.
        last_line: the last row of the piece, good or bad.
    """

    good: pl.DataFrame
    bad: tuple[BadRow, ...]
    others: Counter[str]
    last_line: int


def read_file(path: Path, symbol: str, kind: Kind, pair: str) -> Iterator[Chunk]:
    """The rows of a file; lines are counted from 1, a header included.

    Args:
        symbol: what the lake calls it.
        pair: what the file calls it; rows of others are left out.

    Raises:
        FatalError: the file is missing, or nothing in it tells trades (or quotes); the message says what was found.
    """
    if not path.is_file():
        raise FatalError(f"no file {path}")
    if path.suffix == ".parquet":
        yield from _parquet(path, symbol, kind, pair)
    else:
        with _text(path, rest_pair(symbol) if pair == symbol else pair) as text:
            yield from _csv(text, path.name, symbol, kind, pair)


def _parquet(path: Path, symbol: str, kind: Kind, pair: str) -> Iterator[Chunk]:
    layout: Layout | None = None
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(CHUNK):
        frame = pl.DataFrame(pl.from_arrow(batch))
        layout = layout or _recognised(path.name, kind, frame)
        rows, others = of_symbol(_numbered(frame, start), layout, pair)
        good, bad = typed(rows, layout, symbol, datetime.now(UTC))
        texts = ((line, frame[line - start - 1].write_ndjson().strip(), why) for line, why in bad.iter_rows())
        start += frame.height
        yield Chunk(good, tuple(BadRow(*each) for each in texts), others, start)


def _csv(text: io.TextIOBase, name: str, symbol: str, kind: Kind, pair: str) -> Iterator[Chunk]:
    header = _header(text.readline())
    if header is None:
        text.seek(0)
    layout: Layout | None = None
    columns: tuple[str, ...] = ()
    start = 0 if header is None else 1
    while lines := [line.rstrip("\r\n") for line in itertools.islice(text, CHUNK)]:
        fields = pl.Series("fields", lines).str.split(",")
        columns = columns or _column_names(header, fields, name)
        frame, ragged = _split(fields, columns, start)
        layout = layout or _recognised(name, kind, frame)
        rows, others = of_symbol(frame, layout, pair)
        good, bad = typed(rows, layout, symbol, datetime.now(UTC))
        reasons = [*bad.iter_rows(), *((line, "wrong_fields") for line in ragged if lines[line - start - 1])]
        found = tuple(BadRow(line, lines[line - start - 1], why) for line, why in reasons)
        start += len(lines)
        yield Chunk(good, found, others, start)


def _header(first: str) -> tuple[str, ...] | None:
    """The names in the first line, or None when it holds data."""
    names = tuple(part.strip().strip('"') for part in first.strip().split(","))
    try:
        float(names[0])
    except ValueError:
        return names
    return None


def _column_names(header: tuple[str, ...] | None, fields: pl.Series, name: str) -> tuple[str, ...]:
    """What the columns are, by the header and by how many fields the rows have."""
    width = int(fields.head(_SAMPLE).list.len().mode().max() or 0)  # type: ignore[arg-type]
    if header is not None and len(header) == width:
        return header
    if width == len(_QUARTERLY) and _is_quarterly(fields):
        return _QUARTERLY
    if header is None and width == len(_TIME_AND_SALES):
        return _TIME_AND_SALES
    sample = ",".join(fields[0])[:100]
    raise FatalError(
        f"{name}: cannot tell what its {width} columns are ({sample}); candles are no trades, other files need a header"
    )


def _is_quarterly(fields: pl.Series) -> bool:
    sides = fields.head(_SAMPLE).list.get(3, null_on_oob=True).str.strip_chars()
    return bool(sides.is_in(["b", "s"]).any())


def _split(fields: pl.Series, columns: tuple[str, ...], start: int) -> tuple[pl.DataFrame, list[int]]:
    """The rows with the right number of fields as text columns, and the lines that have another."""
    frame = _numbered(fields.to_frame(), start)
    fits = pl.col("fields").list.len() == len(columns)
    ragged = frame.filter(~fits)[LINE].to_list()
    named = (pl.col("fields").list.get(i).alias(name) for i, name in enumerate(columns))
    return frame.filter(fits).select(LINE, *named), ragged


def _numbered(frame: pl.DataFrame, start: int) -> pl.DataFrame:
    return frame.with_columns(pl.int_range(start + 1, start + 1 + pl.len(), dtype=pl.Int64).alias(LINE))


def _recognised(name: str, kind: Kind, frame: pl.DataFrame) -> Layout:
    try:
        return layout_of(kind, frame.drop(LINE, strict=False))
    except FatalError as error:
        raise FatalError(f"{name}: {error}") from None


@contextmanager
def _text(path: Path, pair: str) -> Iterator[io.TextIOBase]:
    if path.suffix != ".zip":
        with path.open(encoding="utf-8", errors="replace", newline="\n") as text:
            yield text
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        wanted = f"{pair}.csv"
        chosen = names if len(names) == 1 else [name for name in names if Path(name).name == wanted]
        if len(chosen) != 1:
            raise FatalError(f"{path.name} holds {len(names)} CSV files, and not one {wanted} among them")
        with archive.open(chosen[0]) as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8", errors="replace", newline="\n")
