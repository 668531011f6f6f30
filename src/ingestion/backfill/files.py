"""Reads trades or quotes out of Parquet, CSV or zipped CSV files, a piece at a time, without losing a line."""

import csv
import io
import itertools
import zipfile
import zlib
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from ingestion.backfill.columns import LINE, NAMES, ColumnLayout, Kind, layout_of, of_symbol, plain, typed
from ingestion.kraken.rest_messages import rest_pair
from lakehouse.errors import FatalError

CHUNK = 100_000
_SAMPLE = 50
# Kraken's own downloads: time & sales, and the newer quarterly files, whose header names fewer columns than rows have.
_TIME_AND_SALES = ("time", "price", "volume")
_QUARTERLY = ("price", "volume", "time", "side", "type", "misc", "trade_id")
_KNOWN = {alias for fields in NAMES.values() for aliases in fields.values() for alias in aliases}
# What a file that was cut off, is encrypted or is no such file at all makes its reader raise.
_BROKEN = (
    pa.ArrowException,
    pl.exceptions.PolarsError,
    zipfile.BadZipFile,
    zlib.error,
    EOFError,
    OSError,
    RuntimeError,
)


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
        FatalError: the file is missing, broken or empty, or nothing in it tells trades (or quotes); the message says
            what was found.
    """
    if not path.is_file():
        raise FatalError(f"no file {path}")
    empty = True
    try:
        for chunk in _chunks(path, symbol, kind, pair):
            empty &= chunk.good.is_empty() and not chunk.bad and not chunk.others
            yield chunk
    except _BROKEN as error:
        raise FatalError(f"{path.name} cannot be read: {error}") from error
    if empty:
        raise FatalError(f"{path.name} holds no rows")


def _chunks(path: Path, symbol: str, kind: Kind, pair: str) -> Iterator[Chunk]:
    if path.suffix.lower() == ".parquet":
        yield from _parquet(path, symbol, kind, pair)
    else:
        with _text(path, rest_pair(symbol) if pair == symbol else pair) as text:
            yield from _csv(text, path.name, symbol, kind, pair)


def _parquet(path: Path, symbol: str, kind: Kind, pair: str) -> Iterator[Chunk]:
    layout: ColumnLayout | None = None
    start = 0
    for batch in pq.ParquetFile(path).iter_batches(CHUNK):
        frame = plain(pl.DataFrame(pl.from_arrow(batch)))
        layout = layout or _recognised(path.name, kind, frame)
        rows, others = of_symbol(_numbered(frame, start), layout, pair)
        good, bad = typed(rows, layout, symbol, datetime.now(UTC))
        texts = ((line, frame[line - start - 1].write_ndjson().strip(), why) for line, why in bad.iter_rows())
        start += frame.height
        yield Chunk(good, tuple(BadRow(*each) for each in texts), others, start)


def _csv(text: io.TextIOBase, name: str, symbol: str, kind: Kind, pair: str) -> Iterator[Chunk]:
    layout: ColumnLayout | None = None
    columns: tuple[str, ...] = ()
    start, most = 0, CHUNK + 1
    while lines := [line.rstrip("\r\n") for line in itertools.islice(text, most)]:
        fields = _fields(lines)
        if not columns:
            columns, start = _columns(fields, name)
            lines, fields, most = lines[start:], fields[start:], CHUNK
        frame, ragged = _split(fields, columns, start)
        layout = layout or _recognised(name, kind, frame)
        rows, others = of_symbol(frame, layout, pair)
        good, bad = typed(rows, layout, symbol, datetime.now(UTC))
        reasons = [*bad.iter_rows(), *((line, "wrong_fields") for line in ragged if lines[line - start - 1])]
        found = tuple(BadRow(line, lines[line - start - 1], why) for line, why in reasons)
        start += len(lines)
        yield Chunk(good, found, others, start)


def _fields(lines: list[str]) -> pl.Series:
    """The fields of each line; only where there are quotes is the slow way needed."""
    if not any('"' in line for line in lines):
        return pl.Series("fields", lines, pl.String).str.split(",")
    return pl.Series("fields", [_unquoted(line) for line in lines], pl.List(pl.String))


def _unquoted(line: str) -> list[str]:
    try:
        return next(csv.reader([line]), [""])
    except csv.Error:  # a field beyond all bounds: no row has that
        return [line]


def _columns(fields: pl.Series, name: str) -> tuple[tuple[str, ...], int]:
    """What the columns are, by the header and by how many fields the rows have; and how many lines the header takes."""
    rows = fields[1:] if len(fields) > 1 else fields
    width = int(rows.head(_SAMPLE).list.len().mode().max() or 0)  # type: ignore[arg-type]
    names = tuple(part.strip() for part in fields[0])
    if any("\r" in each for each in names):
        raise FatalError(f"{name}: its lines end in CR alone; convert it, e.g. with tr '\\r' '\\n'")
    header = _is_header(names, width)
    if header and len(names) == width:
        if twice := sorted({each for each in names if each and names.count(each) > 1}):
            raise FatalError(f"{name}: more than one column is called {', '.join(twice)}")
        return names, 1
    if width == len(_QUARTERLY) and _is_quarterly(rows):
        return _QUARTERLY, int(header)
    if not header and width == len(_TIME_AND_SALES) and not _are_known(rows[0]):
        return _TIME_AND_SALES, 0
    sample = ",".join(rows[0])[:100]
    raise FatalError(
        f"{name}: cannot tell what its {width} columns are ({sample}); candles are no trades, other files need a header"
    )


def _is_header(names: tuple[str, ...], width: int) -> bool:
    """Whether the first line names columns, known ones or not; what is neither that nor data is a bad row."""
    if _are_known(names):
        return True
    words = all(name[:1].isalpha() and not _is_number(name) for name in names)
    return words and len(names) == width == len(set(names))


def _are_known(names: Iterable[str]) -> bool:
    return not _KNOWN.isdisjoint(name.strip().lower() for name in names)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _is_quarterly(fields: pl.Series) -> bool:
    sides = fields.head(_SAMPLE).list.get(3, null_on_oob=True).str.strip_chars()
    return bool(sides.is_in(["b", "s"]).any())


def _split(fields: pl.Series, columns: tuple[str, ...], start: int) -> tuple[pl.DataFrame, list[int]]:
    """The rows with the right number of fields as text columns, and the lines that have another."""
    frame = _numbered(fields.to_frame(), start)
    fits = pl.col("fields").list.len() == len(columns)
    ragged = frame.filter(~fits)[LINE].to_list()
    # Columns without a name tell nothing, and the name of our own is taken.
    named = (pl.col("fields").list.get(i).alias(name) for i, name in enumerate(columns) if name not in ("", LINE))
    return frame.filter(fits).select(LINE, *named), ragged


def _numbered(frame: pl.DataFrame, start: int) -> pl.DataFrame:
    return frame.with_columns(pl.int_range(start + 1, start + 1 + pl.len(), dtype=pl.Int64).alias(LINE))


def _recognised(name: str, kind: Kind, frame: pl.DataFrame) -> ColumnLayout:
    try:
        return layout_of(kind, frame.drop(LINE, strict=False))
    except FatalError as error:
        raise FatalError(f"{name}: {error}") from None


@contextmanager
def _text(path: Path, pair: str) -> Iterator[io.TextIOBase]:
    if path.suffix.lower() != ".zip":
        with path.open(encoding="utf-8-sig", errors="replace", newline="\n") as text:
            yield text
        return
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.lower().endswith(".csv")]
        wanted = f"{pair}.csv"
        chosen = names if len(names) == 1 else [name for name in names if Path(name).name == wanted]
        if len(chosen) != 1:
            raise FatalError(f"{path.name} holds {len(names)} CSV files, and not one {wanted} among them")
        with archive.open(chosen[0]) as raw:
            yield io.TextIOWrapper(raw, encoding="utf-8-sig", errors="replace", newline="\n")
