"""Summarises the ledger: per symbol, minutes proved complete and ids still missing."""

from dataclasses import dataclass

from lakehouse.stores.questdb import QuestDB


@dataclass(frozen=True, slots=True)
class Summary:
    """One symbol's ledger.

    Attributes:
        minutes: minutes with trades.
        complete_minutes: those of them without missing ids inside or before, and without duplicates.
        trades: trades in bronze.
        missing: ids missing between the first and the last (None: the symbol's ids are not dense).
        doubles: trades stored more than once.
        by_source: trades per source: ws, rest, file, sim.
    """

    symbol: str
    minutes: int
    complete_minutes: int
    trades: int
    missing: int | None
    doubles: int
    by_source: dict[str, int]


_SQL = """
SELECT symbol, count(), sum(CASE WHEN complete THEN 1 ELSE 0 END), sum(trades), sum(holes_inside + holes_before),
  sum(doubles), sum(ws), sum(rest), sum(file), sum(sim)
FROM bronze_completeness GROUP BY symbol ORDER BY symbol
"""


def summaries(questdb: QuestDB) -> list[Summary]:
    """Every symbol's summary; takes tens of milliseconds for months of data.

    Raises:
        RetryableError: QuestDB is down.
    """
    found = []
    for symbol, minutes, complete, trades, missing, doubles, *sources in questdb.rows(_SQL):
        by_source = dict(zip(("ws", "rest", "file", "sim"), map(int, sources), strict=True))
        found.append(Summary(symbol, minutes, complete, trades, missing, doubles, by_source))
    return found
