"""How a text table is written: its preamble, separator, quotes, decimal sign, header; pure."""

import csv
import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from formats.columns import key, known
from formats.layouts import headless, number, source_of
from formats.refusal import Kind, RefusedFileError

SAMPLE_LINES = 200
MAX_TITLE_LINES = 10
_SEPARATORS = (";", "\t", "|", ",", " ")
_PREAMBLE = re.compile(r"^\s*(#|//|https?://|www\.|sep=)", re.IGNORECASE)
_DECIMAL_COMMA = re.compile(r"-?\d+(\.\d{3})*,\d+")
_DECIMAL_POINT = re.compile(r"-?\d+\.\d+")
# Kraken's quarterly files, whose header names fewer columns than rows have.
_QUARTERLY = ("price", "volume", "time", "side", "type", "misc", "trade_id")
Names = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Dialect:
    """How to read a text table.

    Attributes:
        skip: lines before the first row, the header included.
        names: of the columns; ``""`` for one that tells nothing.
        comma: decimals are written with one.
    """

    separator: str
    comma: bool
    skip: int
    names: Names
    source: str


def dialect_of(head: bytes, name: str, kind: Kind | None) -> Dialect:
    """The dialect of a table by its first lines.

    Raises:
        RefusedFileError: nothing tells what the columns are; the message shows what was found.
    """
    text = head.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    if "\n" not in text and "\r" in text:
        raise RefusedFileError(f"{name}: its lines end in CR alone; convert it, e.g. with tr '\\r' '\\n'")
    lines = [line.rstrip("\r") for line in text.split("\n")[: SAMPLE_LINES * 2]]
    start = _preamble(lines)
    sample = [line for line in lines[start : start + SAMPLE_LINES] if line.strip()]
    if not sample:
        raise RefusedFileError(f"{name} holds no rows: nothing but blank lines or comments; get the file again")
    separator = _separator(sample)
    fields = [split_line(line, separator) for line in sample]
    names, header, source = _columns(fields, name, kind)
    rows = fields[1:] if header else fields
    return Dialect(separator, _comma(rows, separator), start + header, names, source)


def split_line(line: str, separator: str) -> list[str]:
    """The fields of one line."""
    try:
        return next(csv.reader([line], delimiter=separator), [""])
    except csv.Error:  # a field beyond all bounds: no row has that
        return [line]


def _preamble(lines: Sequence[str]) -> int:
    """How many lines a table begins with that are none of it: blank ones, comments, an address, a title."""
    first = next((i for i, line in enumerate(lines) if line.strip() and _is_row(line)), len(lines))
    titled = next((i for i, line in enumerate(lines[: first + MAX_TITLE_LINES]) if _names_columns(line)), first)
    return max(first, titled)


def _is_row(line: str) -> bool:
    return not _PREAMBLE.match(line) or _names_columns(line)


def _names_columns(line: str) -> bool:
    names = [part.strip(" \"'") for part in re.split(r"[,;\t|]", line.lstrip("# ")) if part.strip()]
    return len(names) > 2 and sum(known([name]) for name in names) >= 2


def _separator(sample: Sequence[str]) -> str:
    """The sign that cuts most lines into equally many fields; a comma only where no rarer sign does, a blank last."""
    best, found = 0.0, ","
    for separator in _SEPARATORS:
        widths = Counter(len(split_line(line, separator)) for line in sample)
        width, lines = max(widths.items(), key=lambda item: (item[0] > 1, item[1]))
        share = lines / len(sample) if width > 1 else 0.0
        if share > best + (0.05 if separator != " " or not best else 1.0):
            best, found = share, separator
    return found


def _columns(fields: list[list[str]], name: str, kind: Kind | None) -> tuple[Names, int, str]:
    """What the columns are, how many lines the header takes, and the source, by the header and the look of the rows."""
    rows = fields[1:] if len(fields) > 1 else fields
    width = Counter(len(row) for row in rows[:50]).most_common(1)[0][0]
    names = tuple(part.strip() for part in fields[0])
    header = _is_header(names, width)
    layout = headless(fields[int(header) :], kind)
    if layout is not None and not header:
        # Whatever the first line is, it names nothing: of a download without a header it may be a broken row.
        return layout.names, 0, layout.source
    if header and len(names) == width - 1 and width == len(_QUARTERLY) and key(names[0]) == "price":
        return _QUARTERLY, 1, "kraken trades"
    if header and len(names) == width - 1:
        # An index without a name, or a separator at the end of every row.
        names = (*names, "") if all(row[-1] == "" for row in rows) else ("", *names)
    if header and len(names) == width:
        if twice := sorted({each for each in names if each and names.count(each) > 1}):
            raise RefusedFileError(f"{name}: more than one column is called {', '.join(twice)}: rename or drop one")
        return names, 1, source_of(names)
    if layout is not None:
        return layout.names, int(header), layout.source
    other = headless(fields[int(header) :], None)
    told = f"; it looks like {other.kind}s" if other else ""
    sample = ",".join(rows[0])[:100]
    raise RefusedFileError(
        f"{name}: cannot tell what its {width} columns are ({sample}){told}: "
        "put the columns' names into the first line, e.g. ts,price,qty"
    )


def _is_header(names: Names, width: int) -> bool:
    """Whether the first line names columns, known ones or not; what is neither that nor data is a bad row."""
    if known(names) and all(number(name) is None for name in names if name):
        return True
    words = all((name[:1].isalpha() or name == "") and number(name) is None for name in names)
    return words and any(names) and len(names) == width == len(set(names))


def _comma(rows: Sequence[Sequence[str]], separator: str) -> bool:
    values = [text.strip() for row in rows for text in row]
    commas = sum(bool(_DECIMAL_COMMA.fullmatch(text)) for text in values)
    points = sum(bool(_DECIMAL_POINT.fullmatch(text)) for text in values)
    return separator != "," and commas > points
