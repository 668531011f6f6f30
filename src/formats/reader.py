"""The one reader: which table of a file is meant, what it holds, and its rows a piece at a time."""

import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from formats.columns import ColumnLayout, kind_of, layout_of, refuse_account
from formats.ids import negative_ids, places
from formats.raw import BadRow, RawChunk
from formats.refusal import LINE, Kind, ReadOptions, RefusedFileError
from formats.rows import Typed, bad_rows, check_types, typed
from formats.sniff import Member, headed, members
from formats.survey import Survey
from formats.tables import chunks
from formats.times import TimeRule, check_zone, rule_of
from lakehouse.symbols import rest_pair

# A file without ids that is not oldest first keeps so many places of rows in memory.
MAX_UNORDERED = 20_000_000
_SHOWN = 8


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


@dataclass(frozen=True, slots=True)
class Piece:
    """A raw piece beside its rows."""

    name: str
    raw: RawChunk
    found: Typed
    layout: ColumnLayout
    rule: TimeRule


class ForeignFile:
    """One file of one kind, read as the user says.

    Raises:
        RefusedFileError: there is no such file, or it holds no table that is meant.
    """

    def __init__(self, path: Path, kind: Kind | None, options: ReadOptions) -> None:
        check_zone(options.tz)
        self._options = options
        self.name = path.name
        self._members = _chosen(path, members(path), options)
        self.kind: Kind = kind or _kind_of(self._members[0], options)

    def pieces(self) -> Iterator[Piece]:
        """The rows of all tables that are meant; lines count on from one to the next.

        Raises:
            RefusedFileError: the file is broken, or its columns are not those of the kind.
        """
        start, now = 0, datetime.now(UTC)
        for member in self._members:
            layout: ColumnLayout | None = None
            last = 0
            for raw in chunks(member, self.kind):
                if raw.frame.height and layout is None:
                    layout, rule = self._recognised(member.name, raw)
                last = raw.last_line
                moved = raw if not start else _moved(raw, start)
                if layout is None:
                    continue
                yield Piece(member.name, moved, typed(moved, layout, rule, self._options.pair, now), layout, rule)
            start += last

    def survey(self, progress: Callable[[int], object] = lambda _: None) -> Survey:
        """All rows read once, for what they say.

        Args:
            progress: told of each piece's rows.

        Raises:
            RefusedFileError: as `pieces`.
        """
        found = Survey(self.name, self.kind)
        for piece in self.pieces():
            found.offer(piece.name, piece.raw, piece.found, piece.layout, piece.rule)
            progress(piece.raw.frame.height + len(piece.raw.ragged))
        return found

    def read(self, known: Survey) -> Iterator[Chunk]:
        """The rows a piece at a time, with the ids they get in the lake.

        Args:
            known: the survey of the same file.

        Raises:
            RefusedFileError: as `pieces`; or trades without ids are in no order and too many.
        """
        numbers = Numbering(self, known)
        for piece in self.pieces():
            good, missing = numbers.with_ids(piece.found.good)
            bad = replace(piece.found, bad=pl.concat([piece.found.bad, missing])) if missing.height else piece.found
            yield Chunk(good, bad_rows(piece.raw, bad), piece.found.others, piece.raw.last_line)

    def _recognised(self, name: str, raw: RawChunk) -> tuple[ColumnLayout, TimeRule]:
        sample = raw.frame.drop(LINE)
        try:
            layout = layout_of(self.kind, sample, self._options.columns, self._options.sizes, raw.source)
            check_types(layout, sample)
            return layout, rule_of(sample[layout.columns["ts"]], self._options)
        except RefusedFileError as error:
            raise RefusedFileError(f"{name}: {error}") from None


class Numbering:
    """Gives trades without ids the ids they have in the lake (see `negative_ids`)."""

    def __init__(self, source: ForeignFile, known: Survey) -> None:
        self._kind, self._none = known.kind, known.ids == "none"
        self._last, self._count = -1, 0
        self._places: npt.NDArray[np.int64] | None = None
        self._used = 0
        if self._kind == "trade" and self._none and known.downs:
            if known.good > MAX_UNORDERED:
                raise RefusedFileError(
                    f"{known.name}: {known.good:,} trades without ids that are not oldest first: sort the file by time"
                )
            ts = [piece.found.good["ts"].dt.epoch("us").to_numpy() for piece in source.pieces()]
            self._places = places(np.concatenate(ts), known.newest_first) if ts else None

    def with_ids(self, good: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
        """The rows with their ids, and ``line`` and ``reason`` of those that lack one among others that have one."""
        nothing = pl.DataFrame(schema={LINE: pl.Int64, "reason": pl.String})
        if self._kind != "trade" or not good.height:
            return good, nothing
        if not self._none:
            lacking = good.filter(pl.col("trade_id").is_null())
            reasons = lacking.select(LINE, pl.lit("bad_trade_id").alias("reason"))
            return good.filter(pl.col("trade_id").is_not_null()), reasons
        ts = good["ts"].dt.epoch("us").to_numpy()
        ids = negative_ids(ts, self._next(ts))
        return good.with_columns(pl.Series("trade_id", ids, pl.Int64)), nothing

    def _next(self, ts: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
        if self._places is not None:
            self._used += ts.size
            return self._places[self._used - ts.size : self._used]
        place = places(ts, newest_first=False)
        place[ts == self._last] += self._count
        self._last, self._count = int(ts[-1]), int(place[-1]) + 1
        return place


def _moved(raw: RawChunk, start: int) -> RawChunk:
    """The same piece further down: tables of one archive are read as one."""
    ragged = [replace(row, line=row.line + start) for row in raw.ragged]
    frame = raw.frame.with_columns(pl.col(LINE) + start)
    return replace(raw, frame=frame, ragged=ragged, last_line=raw.last_line + start, first_line=raw.first_line + start)


def _kind_of(member: Member, options: ReadOptions) -> Kind:
    for raw in chunks(member, None):
        names = [name for name in raw.frame.columns if name != LINE]
        found = kind_of([*names, *options.columns])
        if found is None:
            refuse_account(names)
            raise RefusedFileError(
                f"{member.name}: neither trades, quotes nor bars: its columns are {', '.join(names)}; "
                "say which is what with --columns ts=NAME,price=NAME,qty=NAME"
            )
        return found
    raise RefusedFileError(f"{member.name} holds no rows; want at least one")


def _chosen(path: Path, found: list[Member], options: ReadOptions) -> list[Member]:
    """The tables that are meant: the symbol's, of one minute where they are bars, all days of one market."""
    chosen = found
    if len(found) > 1:
        chosen = _of_symbol(path, found, options)
    if len(chosen) > 1 and (minutes := [m for m in chosen if _parts(m.stem)[-1:] in (["1"], ["1m"], ["1min"])]):
        chosen = minutes
    opened = [headed(member) for member in sorted(chosen, key=lambda member: member.stem)]
    full = [member for member in opened if member.head]
    if not full:
        raise RefusedFileError(f"{opened[0].name} holds no rows: it is empty; the exchange has none of this pair")
    return full


def _of_symbol(path: Path, found: list[Member], options: ReadOptions) -> list[Member]:
    wanted = [options.pair] if options.pair and options.pair != options.symbol else []
    if options.symbol:
        wanted += [rest_pair(options.symbol), options.symbol]
    for name in filter(None, wanted):
        spelled = re.sub(r"[^A-Za-z0-9]", "", name).upper()
        if matching := [member for member in found if spelled in _spellings(member.stem)]:
            return matching
    if not wanted and len({_parts(member.stem)[0] for member in found}) == 1:
        return found
    names = ", ".join(member.stem for member in found[:_SHOWN]) + (", …" if len(found) > _SHOWN else "")
    meant = f", and not one {wanted[0]}.csv among them" if wanted else ""
    raise RefusedFileError(
        f"{path.name} holds {len(found)} CSV files{meant}: {names}; choose one with --symbol, or --pair as it is there"
    )


def _parts(stem: str) -> list[str]:
    base = re.sub(r"(\.(csv|txt|tsv|json|jsonl|ndjson|parquet|feather|arrow|gz))+$", "", stem, flags=re.IGNORECASE)
    return [part for part in re.split(r"[^A-Za-z0-9]+", base) if part] or [base]


def _spellings(stem: str) -> set[str]:
    """What a member's name may call its pair: the first part, or the first two, as in ``BTC-USDT-trades``."""
    parts = [part.upper() for part in _parts(stem)]
    return {"".join(parts[i:j]) for i in range(len(parts)) for j in (i + 1, i + 2) if j <= len(parts)}
