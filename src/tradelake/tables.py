"""Results as tables for people; pure."""

from collections.abc import Mapping, Sequence
from dataclasses import fields, is_dataclass

from lakehouse.text_table import columns


def table(value: object) -> str:
    """A list of records as a table, one record as name and value, anything else as text; nothing for None.

    >>> print(table([{"symbol": "BTC/USD", "rows": 5}]))
    symbol   rows
    -------  ----
    BTC/USD  5
    >>> print(table({"files": 2, "rows": 70}))
    files  2
    rows   70
    """
    if value is None:
        return ""
    if isinstance(value, Sequence) and not isinstance(value, str) and value and all(map(_is_record, value)):
        records = [_record(one) for one in value]
        return columns([list(records[0]), *([cell(one.get(name)) for name in records[0]] for one in records)])
    if _is_record(value):
        rows = [[name, cell(inner)] for name, inner in _record(value).items()]
        return columns(rows, header=False) if rows else ""
    if isinstance(value, Sequence) and not isinstance(value, str):
        return "\n".join(cell(one) for one in value)
    return cell(value)


def cell(value: object) -> str:
    """One value in a line: NULL is empty, a record inside another is ``name=value`` pairs."""
    if value is None:
        return ""
    if _is_record(value):
        return ", ".join(f"{name}={cell(inner)}" for name, inner in _record(value).items())
    if isinstance(value, Sequence) and not isinstance(value, str | bytes):
        return ", ".join(map(cell, value))
    return str(value)


def _is_record(value: object) -> bool:
    return isinstance(value, Mapping) or (is_dataclass(value) and not isinstance(value, type))


def _record(value: object) -> dict[str, object]:
    if isinstance(value, Mapping):
        return {str(name): inner for name, inner in value.items()}
    return {field.name: getattr(value, field.name) for field in fields(value)}  # type: ignore[arg-type]
