"""Selects the trades of a batch whose ids bronze does not hold yet: the first deliveries; pure."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt
import polars as pl

from ingestion.completeness.interval_set import Ids, IntervalSet


@dataclass(frozen=True, slots=True)
class RedeliveredTrades:
    """Trades in bronze that Kafka will deliver again: ascending offsets of one epoch, each with its trade id."""

    seqs: Ids
    ids: Ids

    def contains(self, ids: Ids, seqs: Ids) -> npt.NDArray[np.bool_]:
        """For each message, whether bronze holds this trade from this offset.

        The offset alone does not tell: a log that lost its newest messages gives their offsets out again.
        """
        places = np.minimum(np.searchsorted(self.seqs, seqs), self.seqs.size - 1)
        found: npt.NDArray[np.bool_] = (self.seqs[places] == seqs) & (self.ids[places] == ids)
        return found


@dataclass(slots=True)
class HeldTrades:
    """What bronze holds of one symbol.

    Attributes:
        ids: trade ids in bronze, from any source.
        redelivered: per origin, the trades, at least one, that are in bronze although Kafka will deliver them again,
            because they were written after the last commit. Writing them again changes nothing (the keys are the
            same), and the engine needs them, since its state ends at the commit.
    """

    ids: IntervalSet = field(default_factory=IntervalSet)
    redelivered: dict[str, RedeliveredTrades] = field(default_factory=dict)

    def accepts(self, origin: str, ids: Ids, seqs: Ids) -> npt.NDArray[np.bool_]:
        """For each trade of a batch in log order, whether it is new or a redelivery of the row in bronze."""
        new = ~self.ids.contains(ids)
        if ids.size > 1 and not (np.diff(ids) > 0).all():
            first = np.zeros(ids.size, np.bool_)
            first[np.unique(ids, return_index=True)[1]] = True
            new &= first
        if origin in self.redelivered:
            new |= self.redelivered[origin].contains(ids, seqs)
        return new


def first_deliveries(trades: pl.DataFrame, origin: str, held: Mapping[str, HeldTrades]) -> npt.NDArray[np.bool_]:
    """For each row of ``trades`` (symbol, trade_id, seq; log order), whether to keep it; marks kept ids as held."""
    keep = np.ones(trades.height, np.bool_)
    all_ids, all_seqs = trades["trade_id"].to_numpy(), trades["seq"].to_numpy()
    for symbol, rows in by_symbol(trades["symbol"]):
        ids = all_ids[rows]
        keep[rows] = accepted = held[symbol].accepts(origin, ids, all_seqs[rows])
        held[symbol].ids.add(ids[accepted])
    return keep


def by_symbol(symbols: pl.Series) -> list[tuple[str, npt.NDArray[np.int64]]]:
    """Each symbol of a column with its row numbers, ascending."""
    if symbols.is_empty():
        return []
    codes = symbols.cast(pl.Categorical).to_physical().to_numpy()
    order = np.argsort(codes, kind="stable")
    parts = np.split(order, np.flatnonzero(np.diff(codes[order])) + 1)
    return [(str(symbols[int(rows[0])]), rows) for rows in parts]
