"""The error of a file that is not taken, and the vocabulary that every reader shares; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from lakehouse.errors import FatalError

Kind = Literal["trade", "quote", "bar"]
DateOrder = Literal["dmy", "mdy", "ymd"]
LINE = "line"


class RefusedFileError(FatalError):
    """The file is not taken, nothing of it: the message says what is wrong, where, and the remedy, in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(one_line(message))


def one_line(text: str) -> str:
    """A message without line breaks or control characters, whatever bytes of a file it shows."""
    return "".join(sign if sign.isprintable() else " " for sign in text)


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """What the user says about a file.

    Attributes:
        symbol: what the lake calls the pair; names the member of an archive.
        pair: what the file calls it, where it names symbols; None: the only one it holds.
        columns: per field of ours, the file's column (``--columns ts=created_time``).
        tz: the zone of times that name none; None: UTC for ISO times, and local formats are refused.
        date_order: of dates such as 05/03/2024.
        sizes: a quote needs its quantities, too.
    """

    symbol: str | None = None
    pair: str | None = None
    columns: Mapping[str, str] = field(default_factory=dict)
    tz: str | None = None
    date_order: DateOrder | None = None
    sizes: bool = False


# Of a file of which the user says nothing.
PLAIN = ReadOptions()


def parse_columns(text: str) -> dict[str, str]:
    """``--columns`` as a mapping.

    >>> parse_columns("ts=created_time, price=px")
    {'ts': 'created_time', 'price': 'px'}

    Raises:
        FatalError: it is not written so.
    """
    pairs = [part.partition("=") for part in text.split(",") if part.strip()]
    wrong = [name for name, equals, column in pairs if not (name.strip() and equals and column.strip())]
    if wrong or not pairs:
        raise FatalError(f"--columns: want field=column, such as ts=created_time,price=px, got {text!r}")
    return {name.strip(): column.strip() for name, _, column in pairs}
