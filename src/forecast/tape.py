"""A stranger's file as rows that remember their place in it, so that what is wrong can be named by line and column."""

import csv
import gzip
import re
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import polars as pl

from lakehouse.errors import FatalError

NUMBER = "place in the file"
_ALIASES = {
    "amount": "qty",
    "size": "qty",
    "quantity": "qty",
    "id": "trade_id",
    "time": "ts",
    "timestamp": "ts",
    "ts_event": "ts",
}
# What a file that is cut short or packed in another way raises.
_BROKEN = (OSError, EOFError, zlib.error)


@dataclass(frozen=True)
class Tape:
    """What a file holds: a frame, of which `NUMBER` says each row's place in the file, and what a place is called."""

    path: Path
    frame: pl.DataFrame
    unit: str

    def refuse(self, row: int, column: str, expected: str) -> FatalError:
        """An error that says which line, which column, what was expected and what is there."""
        value = self.frame[column][row]
        got = value.isoformat() if isinstance(value, datetime) else repr(value)
        place = f"{self.unit} {self.frame[NUMBER][row]}"
        return FatalError(f"{self.path}, {place}, column {column}: want {expected}, got {got}")

    def refuse_any(self, wrong: pl.Series, column: str, expected: str) -> None:
        """Refuses the first row that is wrong, if there is one."""
        if wrong.any():
            raise self.refuse(int(wrong.arg_max() or 0), column, expected)

    def with_columns(self, *columns: pl.Series) -> "Tape":
        """The same with these columns put in."""
        return replace(self, frame=self.frame.with_columns(*columns))

    def need(self, *columns: str) -> None:
        """Refuses a file that lacks a column."""
        missing = [c for c in columns if c not in self.frame.columns]
        if missing:
            held, wanted = ", ".join(c for c in self.frame.columns if c != NUMBER), ", ".join(columns)
            raise FatalError(f"{self.path}: no column {missing[0]}; want {wanted}, it has {held}")


def open_tape(path: Path, names: tuple[str, ...] = ()) -> Tape:
    """The rows of a Parquet or CSV file; ``names`` are the columns of a CSV file without a header.

    Raises:
        FatalError: it is missing, broken or empty.
    """
    if not path.is_file():
        raise FatalError(f"{path}: no such file; give a Parquet or CSV file")
    try:
        if path.suffix == ".parquet":
            tape = Tape(path, _named(pl.read_parquet(path)).with_row_index(NUMBER, 1), "row")
        else:
            tape = _csv(path, names)
    except (pl.exceptions.PolarsError, *_BROKEN) as error:
        raise FatalError(_unreadable(path) or f"{path}: not readable as {path.suffix or 'CSV'}: {error}") from error
    if tape.frame.is_empty():
        raise FatalError(f"{path}: no rows; want at least one")
    return tape


def _csv(path: Path, names: tuple[str, ...]) -> Tape:
    blank, first = _first_line(path)
    header = not _is_number(first)
    if not header and not names:
        raise FatalError(f"{path}, line {blank + 1}: want the columns' names, got {first!r}")
    frame = pl.read_csv(path, has_header=header, infer_schema=False, skip_lines=blank)
    if not header:
        if frame.width != len(names):
            wanted = f"{len(names)} columns ({', '.join(names)}), or their names in the first line"
            raise FatalError(f"{path}, line {blank + 1}: want {wanted}, got {frame.width}")
        frame.columns = list(names)
    rows = _named(frame).with_row_index(NUMBER, blank + 1 + header)
    # A blank line is read as a row without any value.
    return Tape(path, rows.filter(~pl.all_horizontal(pl.exclude(NUMBER).is_null())), "line")


def _lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        zipped = file.read(2) == b"\x1f\x8b"
    with gzip.open(path) if zipped else path.open("rb") as file:
        yield from file


def _first_line(path: Path) -> tuple[int, str]:
    """How many blank lines a file begins with, and the line after them."""
    for number, line in enumerate(_lines(path)):
        text = line.decode(errors="replace").removeprefix("\ufeff").strip()
        if text:
            return number, text
    return 0, ""


def _is_number(line: str) -> bool:
    """Whether a line begins with a number, as no header does."""
    try:
        float(re.split(r"[,;\s]", line)[0])
    except ValueError:
        return False
    return True


def _unreadable(path: Path) -> str | None:
    """Why a CSV file cannot be read: its first line that is no text, or has more columns than the first."""
    if path.suffix == ".parquet":
        return None
    wanted = 0
    try:
        for number, line in enumerate(_lines(path), 1):
            found = len(next(csv.reader([line.decode()]), []))
            wanted = wanted or found
            if found > wanted:
                return f"{path}, line {number}: want {wanted} columns, got {found}"
    except UnicodeDecodeError:
        return f"{path}, line {number}: want text (UTF-8), got {line[:20]!r}"
    except _BROKEN:
        return None
    return None


def _named(frame: pl.DataFrame) -> pl.DataFrame:
    """Other people's names for our columns; where two fit, the first of `_ALIASES` wins."""
    wanted = {new: old for old, new in reversed(_ALIASES.items()) if old in frame.columns and new not in frame.columns}
    return frame.rename({old: new for new, old in wanted.items()})
