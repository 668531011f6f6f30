"""Reads any file as raw tables, a piece at a time, without losing a row or its place in the file."""

from collections.abc import Iterator
from contextlib import closing
from typing import IO

import polars as pl
import polars.selectors as cs
import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from formats.json_tables import BATCH_ROWS, read_json
from formats.layouts import source_of
from formats.raw import BadRow, RawChunk, decoded, numbered
from formats.refusal import LINE, Kind, RefusedFileError
from formats.sniff import BROKEN, Member
from formats.text import Dialect, dialect_of, split_line

BLOCK_BYTES = 8 << 20
UNREADABLE = (*BROKEN, UnicodeError, pl.exceptions.PolarsError)


def chunks(member: Member, kind: Kind | None) -> Iterator[RawChunk]:
    """The rows of a table; lines are counted from 1, a header included.

    Raises:
        RefusedFileError: it is broken, or nothing tells what its columns are.
    """
    readers = {"parquet": _parquet, "arrow": _arrow, "json": read_json, "text": _text}
    try:
        yield from readers[member.shape](member, kind)
    except UNREADABLE as error:
        detail = " ".join(str(error).split())[:200]
        raise RefusedFileError(f"{member.name} cannot be read: {detail}; it may be cut short: get it again") from error


def _text(member: Member, kind: Kind | None) -> Iterator[RawChunk]:
    dialect = dialect_of(member.head, member.name, kind)
    start = dialect.skip
    with member.opener() as file:
        rows = _blocks(file, dialect.skip)
        for block in rows:
            chunk = _quick(block, dialect, start) or _slow(block, dialect, start)
            start = chunk.last_line
            yield chunk


def _blocks(file: IO[bytes], skip: int) -> Iterator[bytes]:
    """The lines after the first ``skip`` ones, in pieces of whole lines."""
    rest = b""
    while piece := file.read(BLOCK_BYTES):
        rest += piece
        while skip and b"\n" in rest:
            rest = rest[rest.index(b"\n") + 1 :]
            skip -= 1
        cut = rest.rfind(b"\n") + 1
        if cut and not skip:
            yield rest[:cut]
            rest = rest[cut:]
    if rest and not skip:
        yield rest + b"\n"


def _quick(block: bytes, dialect: Dialect, start: int) -> RawChunk | None:
    """A block whose every line has as many fields as there are columns: polars' own reader takes it."""
    separator, width, count = dialect.separator.encode(), len(dialect.names), block.count(b"\n")
    plain = block
    if b'"' in block:
        plain = block.replace(b'"', b"")
    if plain.count(separator) != count * (width - 1) or width < 2 or b"\xef\xbb\xbf" in plain[:3]:
        return None
    try:
        frame = pl.read_csv(
            plain,
            separator=dialect.separator,
            quote_char=None,
            has_header=False,
            infer_schema=False,
        )
    except pl.exceptions.PolarsError:  # lines of more fields beside lines of fewer
        return None
    if frame.height != count or frame.width != width:
        return None
    if plain.count(b"\r"):
        last = frame.columns[-1]
        frame = frame.with_columns(pl.col(last).str.strip_chars_end("\r"))
    named = [pl.col(c).alias(n) for c, n in zip(frame.columns, dialect.names, strict=True) if n not in ("", LINE)]
    numbered = frame.select(pl.int_range(start + 1, start + 1 + pl.len(), dtype=pl.Int64).alias(LINE), *named)
    return RawChunk(numbered, start + count, dialect.source, comma=dialect.comma, block=block, first_line=start + 1)


def _slow(block: bytes, dialect: Dialect, start: int) -> RawChunk:
    """A block with lines of other widths or quotes around separators: cut line by line."""
    lines = decoded(block)
    quoted = any('"' in line for line in lines)
    cut = [split_line(line, dialect.separator) for line in lines] if quoted else None
    fields = (
        pl.Series("fields", lines, pl.String).str.split(dialect.separator)
        if cut is None
        else pl.Series("fields", cut, pl.List(pl.String))
    )
    frame = fields.to_frame().with_columns(pl.int_range(start + 1, start + 1 + pl.len(), dtype=pl.Int64).alias(LINE))
    fits = pl.col("fields").list.len() == len(dialect.names)
    named = [pl.col("fields").list.get(i).alias(n) for i, n in enumerate(dialect.names) if n not in ("", LINE)]
    others = frame.filter(~fits)[LINE].to_list()
    ragged = [
        BadRow(line, lines[line - start - 1], "wrong_fields")
        for line in others
        if lines[line - start - 1].strip() and not lines[line - start - 1].startswith("#")
    ]
    return RawChunk(
        frame.filter(fits).select(LINE, *named),
        start + len(lines),
        dialect.source,
        comma=dialect.comma,
        ragged=ragged,
        separator=dialect.separator,
        lines=lines,
        first_line=start + 1,
    )


def _parquet(member: Member, _kind: Kind | None) -> Iterator[RawChunk]:
    with closing(member.seekable()) as file:
        yield from _batches(pq.ParquetFile(file).iter_batches(BATCH_ROWS))


def _arrow(member: Member, _kind: Kind | None) -> Iterator[RawChunk]:
    with closing(member.seekable()) as file:
        if member.head.startswith(b"ARROW1"):
            reader = ipc.open_file(file)
            yield from _batches(reader.get_batch(i) for i in range(reader.num_record_batches))
        else:
            yield from _batches(iter(ipc.open_stream(file)))


def _batches(batches: Iterator[pa.RecordBatch]) -> Iterator[RawChunk]:
    start = 0
    for batch in batches:
        # polars takes the bytes as they are, and would panic at text that is no UTF-8.
        batch.validate(full=True)
        frame = pl.DataFrame(pl.from_arrow(batch))
        # Dictionary columns, which pandas likes to write, are the text that they stand for.
        frame = frame.with_columns(cs.by_dtype(pl.Categorical, pl.Enum).cast(pl.String)).drop(LINE, strict=False)
        yield numbered(frame, start, source_of(frame.columns))
        start += frame.height
