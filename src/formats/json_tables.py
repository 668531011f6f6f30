"""Reads JSON documents and JSON lines as raw tables."""

import io
import itertools
from collections.abc import Iterator

import orjson
import polars as pl

from formats.layouts import headless, source_of
from formats.raw import BadRow, RawChunk, numbered
from formats.refusal import LINE, Kind, RefusedFileError
from formats.sniff import Member

BATCH_ROWS = 100_000
# A JSON document is read whole, so its size is what memory it takes.
MAX_JSON_BYTES = 512 << 20


def read_json(member: Member, kind: Kind | None) -> Iterator[RawChunk]:
    """JSON lines a piece at a time; a document of rows whole."""
    first = member.head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if first.startswith(b"{") and _is_lines(first):
        yield from _json_lines(member, kind)
        return
    with member.opener() as file:
        body = file.read(MAX_JSON_BYTES + 1)
    if len(body) > MAX_JSON_BYTES:
        raise RefusedFileError(f"{member.name}: a JSON document of more than 512 MB: write it as JSON lines or Parquet")
    if first.startswith(b"[") and b"\n[" in first and not _parses(body):
        yield from _json_lines(member, kind)
        return
    rows = _rows_of(member, orjson.loads(body) if _parses(body) else None)
    start = 0
    while piece := rows[start : start + BATCH_ROWS]:
        frame, source = _json_frame(piece, member.name, kind)
        yield numbered(frame, start, source)
        start += len(piece)


def _is_lines(text: bytes) -> bool:
    """Whether objects stand one a line, or there is a single one that is a row itself and not an envelope of rows."""
    line, _, rest = text.partition(b"\n")
    if not _parses(line):
        return False
    value = orjson.loads(line)
    return isinstance(value, dict) and (
        bool(rest.strip()) or all(not isinstance(v, list | dict) for v in value.values())
    )


def _parses(body: bytes) -> bool:
    try:
        orjson.loads(body)
    except orjson.JSONDecodeError:
        return False
    return True


def _json_lines(member: Member, kind: Kind | None) -> Iterator[RawChunk]:
    start = 0
    with member.opener() as file:
        lines = io.BufferedReader(file)  # type: ignore[type-var]
        while piece := list(itertools.islice(lines, BATCH_ROWS)):
            good, ragged = [], []
            for number, line in enumerate(piece, start + 1):
                if _parses(line.removeprefix(b"\xef\xbb\xbf")):
                    good.append((number, orjson.loads(line.removeprefix(b"\xef\xbb\xbf"))))
                elif line.strip():
                    ragged.append(BadRow(number, line.decode("utf-8", "replace").strip(), "wrong_fields"))
            frame, source = _json_frame([row for _, row in good], member.name, kind)
            rows = frame.with_columns(pl.Series(LINE, [number for number, _ in good], pl.Int64))
            start += len(piece)
            yield RawChunk(rows, start, source, ragged=ragged)


def _rows_of(member: Member, value: object) -> list[object]:
    """The rows in a document: the list itself, the only list of rows in an envelope, or the columns side by side."""
    if isinstance(value, list):
        return value
    while isinstance(value, dict):
        lists = [
            each for each in value.values() if isinstance(each, list) and each and isinstance(each[0], list | dict)
        ]
        if len(lists) == 1:
            return lists[0]
        if rows := _transposed(value):
            return rows
        inner = [each for each in value.values() if isinstance(each, dict)]
        value = inner[0] if len(inner) == 1 else None
    raise RefusedFileError(f"{member.name}: JSON, but no list of rows: want [{{...}}, ...], [[...], ...] or JSON lines")


def _transposed(columns: dict[str, object]) -> list[object]:
    """The rows of columns that are lists of one length, or objects of the same keys, as pandas writes them."""
    values = [list(each.values()) if isinstance(each, dict) else each for each in columns.values()]
    keys = {tuple(each) for each in columns.values() if isinstance(each, dict)}
    lists = [each for each in values if isinstance(each, list)]
    if len(lists) != len(values) or len(lists) < 3 or len(keys) > 1 or len(set(map(len, lists))) != 1:
        return []
    return [dict(zip(columns, row, strict=True)) for row in zip(*lists, strict=True)]


def _json_frame(rows: list[object], name: str, kind: Kind | None) -> tuple[pl.DataFrame, str]:
    """Rows of JSON as text columns: lists by their look, objects by their names."""
    if not rows:
        return pl.DataFrame(), "unknown"
    if isinstance(rows[0], list):
        texts = [[_cell(cell) for cell in row] if isinstance(row, list) else [] for row in rows]
        layout = headless([[cell or "" for cell in row] for row in texts[:200] if len(row) == len(texts[0])], kind)
        if layout is None:
            raise RefusedFileError(f"{name}: cannot tell what its {len(texts[0])} columns are ({str(rows[0])[:100]})")
        names = [each or f"-{i}" for i, each in enumerate(layout.names)]
        width = len(names)
        padded = [row if len(row) == width else [None] * width for row in texts]
        return pl.DataFrame(padded, schema=dict.fromkeys(names, pl.String), orient="row"), layout.source
    names = list(dict.fromkeys(each for row in rows[:1000] if isinstance(row, dict) for each in row))
    columns = {
        each: pl.Series(each, [_cell(row.get(each)) if isinstance(row, dict) else None for row in rows], pl.String)
        for each in names
    }
    return pl.DataFrame(columns).drop(LINE, strict=False), source_of(names)


def _cell(value: object) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode()
