"""Labelled feature rows: the dataset that training and evaluation start from."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from features.spec import NAMES, STALE_S
from forecast.model.rows import FeatureRows
from forecast.model.targets import MICROS, TARGETS, Array, Mask, PricePath, Target, Times, Truth, silent, truth
from lakehouse.settings import HORIZONS_S


@dataclass(frozen=True)
class Dataset:
    """Labelled rows in time order, of one symbol or several pooled.

    Attributes:
        ts: microseconds since 1970, shape (n,), ascending.
        symbols: the symbol of each row, shape (n,).
        matrix: features in the order of `features.spec.NAMES`; unknown is NaN.
        truth: what happened after, per target, shape (n, horizons), no NaN.
        spec: hash of the feature definitions. step_s: step of realised volatility.
        counts: rows left out, by reason, and rows kept.
    """

    ts: Times
    symbols: np.ndarray
    matrix: Array
    truth: Mapping[Target, Array]
    spec: str
    step_s: int
    counts: Mapping[str, int] = field(default_factory=dict)
    columns: tuple[str, ...] = NAMES

    def __len__(self) -> int:
        return len(self.ts)

    def rows(self, index: np.ndarray | slice = slice(None)) -> FeatureRows:
        """The features of some rows."""
        return FeatureRows(self.matrix[index], self.columns)

    def head(self, rows: int) -> "Dataset":
        """The oldest rows."""
        truths = {target: truths[:rows] for target, truths in self.truth.items()}
        return replace(self, ts=self.ts[:rows], symbols=self.symbols[:rows], matrix=self.matrix[:rows], truth=truths)

    def save(self, path: Path) -> None:
        """Writes everything into one ``.npz`` file without pickles."""
        notes = json.dumps({"spec": self.spec, "step_s": self.step_s, "counts": dict(self.counts)})
        truths: dict[str, Any] = {f"truth_{target}": values for target, values in self.truth.items()}
        np.savez(path, ts=self.ts, symbols=self.symbols.astype(str), matrix=self.matrix, notes=notes, **truths)

    def hash(self) -> str:
        """Names the data: 12 hex digits over times, features and truths."""
        digest = hashlib.sha256(self.spec.encode())
        for part in (self.ts, self.matrix, *(self.truth[target] for target in sorted(self.truth))):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()[:12]


def price_path(events: pl.DataFrame) -> PricePath:
    """The bid and the price of one symbol's events (`EVENT_SCHEMA`) in time order, events of equal times in log order.

    Where quotes are known: best bid, and mid as the price. Elsewhere: the last seller-initiated trade price stands for
    the bid (the last trade price until a sale is known), the last trade price for the price. As in the features, a
    quote is known until a gap of the ticker, and for 4 h at most.
    """
    ticker_gap = (pl.col("type") == "gap") & (pl.col("stream") == "ticker")
    quote = pl.col("type") == "quote"
    # A quote holds until the next one or until a gap of the ticker, which voids it (NaN).
    bid = pl.when(quote).then("bid").when(ticker_gap).then(float("nan")).forward_fill().fill_null(float("nan"))
    mid = pl.when(quote).then((pl.col("bid") + pl.col("ask")) / 2).when(ticker_gap).then(float("nan"))
    sold = pl.when(pl.col("side") == "sell").then("price").forward_fill()
    last = pl.col("price").forward_fill()
    frame = (
        events.lazy()
        .sort("ts", maintain_order=True)
        .select(
            "ts",
            quoted_bid=bid,
            mid=mid.forward_fill().fill_null(float("nan")),
            sold=pl.coalesce(sold, last),
            last=last,
            held=pl.col("ts") - pl.when(quote).then("ts").forward_fill() <= pl.duration(seconds=STALE_S),
        )
        .with_columns(quoted=(pl.col("held") & pl.col("mid").is_not_nan()).fill_null(False))
        .with_columns(
            bid=pl.when(pl.col("held") & pl.col("quoted_bid").is_not_nan()).then("quoted_bid").otherwise("sold"),
            price=pl.when("quoted").then("mid").otherwise("last"),
        )
        .filter(pl.col("bid").is_not_null() & pl.col("price").is_not_null())
        .collect()
    )
    return PricePath(times(frame), *(frame[name].to_numpy() for name in ("bid", "price", "quoted")))


def with_bid(frame: pl.DataFrame, held: Array) -> pl.DataFrame:
    """Feature rows with ``bid`` filled, where no quote is known, by ``held``: the path's bids as of the rows.

    A row is as of one event. Where that event's place in the path is not known, take `PricePath.before`: events of the
    same timestamp may come after the row, and a sweep through the book has many.
    """
    bids = pl.Series("held", held)
    return frame.with_columns(bid=pl.when(pl.col("bid").is_nan() | pl.col("bid").is_null()).then(bids).otherwise("bid"))


def times(frame: pl.DataFrame) -> Times:
    """The times of rows in microseconds since 1970."""
    return frame["ts"].to_physical().to_numpy()


def before_rows(frame: pl.DataFrame, path: PricePath) -> Array:
    """The path's bids just before each row's timestamp."""
    return path.before(path.bid, times(frame))


def build(
    frame: pl.DataFrame,
    path: PricePath,
    spec: str,
    step_s: int,
    every_s: float = 0.0,
    stale_s: float = np.inf,
    silence_s: float = np.inf,
) -> Dataset:
    """One symbol's labelled rows; rows that cannot be used are left out and counted by reason.

    Args:
        frame: rows as `features.engine.fold` gives them (or silver holds them).
        path: the same symbol's prices, reaching past the rows by the longest horizon where truth is wanted.
        every_s: keep at most one row per that many seconds (rows a second apart are nearly redundant).
        stale_s: leave out truths whose newest price is older than this at t+h.
        silence_s: leave out rows after which prices cease for longer than this within the longest horizon.

    Counts: ``incomplete`` (holes or gaps in its windows, or an old quote), ``warming_up`` (no variance known yet),
    ``thinned``, ``not_due`` (truth not known yet), ``stale_truth``, ``silent``, ``kept``.
    """
    frame = frame.sort("ts", maintain_order=True)
    counts: dict[str, int] = {}

    def leave_out(reason: str, keep: Mask, *parts: Any) -> list[Any]:
        counts[reason] = int((~keep).sum())
        return [part[keep] for part in parts]

    ts = times(frame)
    matrix = frame.select(NAMES).fill_null(float("nan")).to_numpy().astype(np.float64)
    ts, matrix = leave_out("incomplete", frame["complete"].fill_null(False).to_numpy(), ts, matrix)
    rows = FeatureRows(matrix, NAMES)
    known = np.isfinite(rows["rv_5m"]) & (np.isfinite(rows["bid"]) | np.isfinite(rows["last"]))
    ts, matrix = leave_out("warming_up", known, ts, matrix)
    ts, matrix = leave_out("thinned", _one_per(ts, every_s), ts, matrix)
    after = truth(path, ts, step_s)
    ts, matrix, bid, vol, age = leave_out("not_due", _due(after), ts, matrix, after.bid, after.vol, after.age_s)
    ts, matrix, bid, vol = leave_out("stale_truth", (age <= stale_s).all(axis=1), ts, matrix, bid, vol)
    ts, matrix, bid, vol = leave_out("silent", ~silent(path, ts, silence_s), ts, matrix, bid, vol)
    counts["kept"] = len(ts)
    symbol = frame.item(0, "symbol") if len(frame) else ""
    return Dataset(ts, np.full(len(ts), symbol), matrix, {"bid": bid, "vol": vol}, spec, step_s, counts)


def _due(after: Truth) -> Mask:
    return np.asarray(np.isfinite(after.bid).all(axis=1) & np.isfinite(after.vol).all(axis=1))


def _one_per(ts: Times, every_s: float) -> Mask:
    """The first row of each span of ``every_s`` on the absolute grid."""
    if every_s <= 0 or not len(ts):
        return np.ones(len(ts), dtype=bool)
    span = ts // int(every_s * MICROS)
    return np.asarray(np.diff(span, prepend=span[0] - 1) != 0)


def pool(parts: list[Dataset]) -> Dataset:
    """Several symbols' rows in one dataset, in time order; counts are added up."""
    order = np.argsort(np.concatenate([part.ts for part in parts]), kind="stable")
    counts = {key: sum(part.counts.get(key, 0) for part in parts) for part in parts for key in part.counts}
    return replace(
        parts[0],
        ts=np.concatenate([part.ts for part in parts])[order],
        symbols=np.concatenate([part.symbols for part in parts])[order],
        matrix=np.concatenate([part.matrix for part in parts])[order],
        truth={t: np.concatenate([part.truth[t] for part in parts])[order] for t in parts[0].truth},
        counts=counts,
    )


def overlap_rows(data: Dataset, horizon_s: int) -> float:
    """The typical number of successive rows within one horizon, at least 1; pauses in the data do not count."""
    if not len(data):
        return 1.0
    within = np.searchsorted(data.ts, data.ts + horizon_s * MICROS, side="right") - np.arange(len(data)) - 1
    return max(1.0, float(np.median(within)))


def empty(spec: str, step_s: int) -> Dataset:
    """No rows."""
    none = np.empty((0, len(HORIZONS_S)))
    symbols = np.empty(0, dtype=str)
    return Dataset(np.empty(0, np.int64), symbols, np.empty((0, len(NAMES))), {"bid": none, "vol": none}, spec, step_s)


def load(path: Path) -> Dataset:
    """What `Dataset.save` wrote."""
    with np.load(path, allow_pickle=False) as held:
        notes = json.loads(str(held["notes"]))
        truths: dict[Target, Array] = {target: held[f"truth_{target}"] for target in TARGETS}
        return Dataset(
            held["ts"], held["symbols"], held["matrix"], truths, notes["spec"], notes["step_s"], notes["counts"]
        )
