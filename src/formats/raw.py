"""Raw pieces of a file: rows as they stand there, with their places; pure."""

from dataclasses import dataclass, field

import polars as pl

from formats.refusal import LINE
from formats.text import split_line


@dataclass(frozen=True, slots=True)
class BadRow:
    """A row that is not taken: its number in the file, its text, and why."""

    line: int
    text: str
    reason: str


@dataclass(slots=True)
class RawChunk:
    """A piece of a file as it stands there.

    Attributes:
        frame: the file's columns and ``line``.
        ragged: rows with another number of fields.
        last_line: the last row of the piece, good or bad.
        unit: what a place in the file is called.
        comma: decimals are written with one.
        lines: the text of the rows, where it is text; the first is line ``first_line``.
    """

    frame: pl.DataFrame
    last_line: int
    source: str
    unit: str = "line"
    comma: bool = False
    ragged: list[BadRow] = field(default_factory=list)
    separator: str = ","
    lines: list[str] | None = None
    block: bytes = b""
    first_line: int = 1

    def fields(self, line: int) -> int:
        """How many fields a ragged row has."""
        return len(split_line(self.text(line), self.separator))

    def text(self, line: int) -> str:
        """The row as it stands in the file."""
        if self.block or self.lines is not None:
            if self.lines is None:
                self.lines = decoded(self.block)
            return self.lines[line - self.first_line]
        row = self.frame.filter(pl.col(LINE) == line).drop(LINE)
        return row.write_ndjson().strip()


def decoded(block: bytes) -> list[str]:
    """The lines of a block of text."""
    text = block.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    return [line.rstrip("\r") for line in text.removesuffix("\n").split("\n")]


def numbered(frame: pl.DataFrame, start: int, source: str) -> RawChunk:
    """A typed table's rows, counted on from ``start``."""
    rows = frame.with_columns(pl.int_range(start + 1, start + 1 + pl.len(), dtype=pl.Int64).alias(LINE))
    return RawChunk(rows, start + frame.height, source, unit="row")
