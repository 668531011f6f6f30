"""What a file holds, gathered over all its rows, and whether it is taken; pure."""

from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime

import numpy as np
import polars as pl

from formats.columns import ColumnLayout
from formats.ids import MAX_MISSING, Density, IdKind
from formats.raw import RawChunk
from formats.refusal import Kind
from formats.rows import Typed, explain
from formats.times import TimeRule

# Above this share of bad rows the user is warned.
MAX_BAD = 0.01
_HOUR_US = (1_800_000_000, 3_660_000_000)
_LOW_HIGH: dict[Kind, tuple[str, str]] = {"trade": ("price", "price"), "quote": ("bid", "ask"), "bar": ("low", "high")}


@dataclass(slots=True)
class Survey:
    """Facts about a file.

    Attributes:
        good, bad: how many rows can be read, and cannot.
        reasons: how many rows are bad for which reason.
        examples: per reason, the first bad row in one line.
        others: rows of other symbols.
        symbols: what the rows taken are called in the file.
    """

    name: str
    kind: Kind
    source: str = "unknown"
    columns: dict[str, str] = field(default_factory=dict)
    good: int = 0
    bad: int = 0
    still: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    examples: dict[str, str] = field(default_factory=dict)
    others: Counter[str] = field(default_factory=Counter)
    symbols: Counter[str] = field(default_factory=Counter)
    first: datetime | None = None
    last: datetime | None = None
    sides: Counter[str] = field(default_factory=Counter)
    price_min: float | None = None
    price_max: float | None = None
    ups: int = 0
    downs: int = 0
    jumps: Counter[str] = field(default_factory=Counter)
    hours: dict[str, str] = field(default_factory=dict)
    missing_ids: int = 0
    _density: Density = field(default_factory=Density)
    _previous: int | None = None

    def offer(self, name: str, raw: RawChunk, found: Typed, layout: ColumnLayout, rule: TimeRule) -> None:
        """Takes a piece in."""
        self.columns = self.columns or dict(layout.columns)
        self.source = raw.source if self.source == "unknown" else self.source
        self.others += found.others
        self.still += found.still
        self._bad(name, raw, found, layout)
        good = found.good
        if not good.height:
            return
        self.good += good.height
        self._prices(good)
        self._order(name, raw, good, rule)
        if "symbol" in layout.columns:
            names = raw.frame[layout.columns["symbol"]].cast(pl.String).str.strip_chars().replace("", None)
            self.symbols += Counter(dict(names.drop_nulls().value_counts().iter_rows()))
        if self.kind == "trade":
            told = good["side"].fill_null("none").value_counts()
            self.sides += Counter(dict(told.iter_rows()))
            self.missing_ids += good["trade_id"].null_count()
            self._density.offer(good["trade_id"].drop_nulls().to_numpy())

    def _bad(self, name: str, raw: RawChunk, found: Typed, layout: ColumnLayout) -> None:
        reasons = Counter(found.bad["reason"].to_list()) + Counter(row.reason for row in raw.ragged)
        self.reasons += reasons
        self.bad += reasons.total()
        lines = [*found.bad.iter_rows(), *((row.line, row.reason) for row in raw.ragged)] if reasons else []
        for line, why in sorted(lines) if reasons.keys() - self.examples.keys() else ():
            if why not in self.examples:
                self.examples[why] = explain(name, raw, layout, line, why)

    def _prices(self, good: pl.DataFrame) -> None:
        low, high = (good[column] for column in _LOW_HIGH[self.kind])
        least, most = float(low.min()), float(high.max())  # type: ignore[arg-type]
        self.price_min = least if self.price_min is None else min(self.price_min, least)
        self.price_max = most if self.price_max is None else max(self.price_max, most)
        first, last = good["ts"].min(), good["ts"].max()
        assert isinstance(first, datetime) and isinstance(last, datetime)
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)

    def _order(self, name: str, raw: RawChunk, good: pl.DataFrame, rule: TimeRule) -> None:
        ts = good["ts"].dt.epoch("us").to_numpy()
        steps = np.diff(ts if self._previous is None else np.r_[self._previous, ts])
        self._previous = int(ts[-1])
        self.ups += int((steps > 0).sum())
        self.downs += int((steps < 0).sum())
        if not rule.assumed:
            return
        hour = (np.abs(steps) >= _HOUR_US[0]) & (np.abs(steps) <= _HOUR_US[1])
        for way, jumps in (("down", hour & (steps < 0)), ("up", hour & (steps > 0))):
            at = np.flatnonzero(jumps) + (good.height - steps.size)
            self.jumps[way] += at.size
            if at.size and way not in self.hours:
                line, when = good["line"][int(at[0])], good["ts"][int(at[0])]
                self.hours[way] = f"{name}, {raw.unit} {line}, column {self.columns['ts']}: {when:%Y-%m-%d %H:%M:%S}"

    @property
    def repeated_hour(self) -> str | None:
        """The row at which the times go back against their order, where all that do go back by about an hour."""
        way, steps = ("down", self.downs) if self.ups > self.downs else ("up", self.ups)
        return self.hours[way] if steps and self.ups != self.downs and self.jumps[way] == steps else None

    @property
    def example(self) -> str:
        """The first bad row in one line."""
        return next(iter(self.examples.values()), "")

    @property
    def harmful(self) -> str:
        """The first bad row that is not merely a trade of nothing."""
        return next((line for why, line in self.examples.items() if why != "zero_qty"), "")

    @property
    def rows(self) -> int:
        """All rows of the symbol: good, bad, and minutes without a trade."""
        return self.good + self.bad + self.still

    @property
    def order(self) -> str:
        """``ascending`` (oldest first), ``descending`` or ``mixed``."""
        return "ascending" if not self.downs else "descending" if not self.ups else "mixed"

    @property
    def newest_first(self) -> bool:
        """Whether rows that share a time stand in the file the other way round."""
        return self.downs > self.ups

    @property
    def ids(self) -> IdKind:
        """Whether the trades have ids, and whether a hole among them would be a missing trade."""
        if self.kind != "trade" or not self.good or self.missing_ids > MAX_MISSING * self.good:
            return "none"
        return "dense" if self._density.dense else "sparse"

    def refused(self) -> str | None:
        """Why the file is not taken, in one line; None: it is."""
        for reason in ("shortened_time", "repeated_hour"):
            if self.reasons[reason]:
                return self.examples[reason]
        if not self.good and not self.bad and not self.others:
            still = f" with a trade (all {self.still} minutes are empty)" if self.still else ""
            return f"{self.name} holds no rows{still}; want at least one"
        if not self.good and self.bad:
            return f"none of {self.bad:,} rows can be read as a {self.kind}: {self.example}"
        if self.repeated_hour:
            return (
                f"{self.repeated_hour} breaks the order of times: an hour that comes twice, as local clocks have it; "
                "say --tz UTC if they are UTC, else write them in UTC"
            )
        return None

    def warnings(self) -> list[str]:
        """What the user ought to know of a file that is taken."""
        said = []
        if self.bad > MAX_BAD * self.rows:
            said.append(
                f"{self.bad:,} of {self.rows:,} rows ({self.bad / self.rows:.1%}) are bad, first: {self.example}"
            )
        if self.kind == "trade" and (none := self.sides["none"]):
            said.append(f"{none:,} rows have no side")
        return said
