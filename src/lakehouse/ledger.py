"""The ledger in short: per symbol, how many minutes are proved complete, and which ids are still missing."""

from dataclasses import dataclass

from lakehouse.stores.questdb import QuestDB


@dataclass(frozen=True, slots=True)
class Summary:
    """One symbol's ledger.

    Attributes:
        minutes: minutes with trades.
        complete_minutes: of those, the ones without a hole at or inside their edges and without doubles.
        trades: trades in bronze.
        missing: ids missing between the first and the last (None: the symbol's ids are not dense).
        doubles: trades that are there more than once.
        by_source: trades by where they came from: ws, rest, file, sim.
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
    """Every symbol's ledger, a few tens of milliseconds for months of minutes.

    Raises:
        RetryableError: QuestDB is away.
    """
    found = []
    for symbol, minutes, complete, trades, missing, doubles, *sources in questdb.rows(_SQL):
        by_source = dict(zip(("ws", "rest", "file", "sim"), map(int, sources), strict=True))
        found.append(Summary(symbol, minutes, complete, trades, missing, doubles, by_source))
    return found
