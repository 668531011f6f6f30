"""The candles against the trades they are made of: a view whose base was dropped must be made anew, too."""

import time

from lakehouse.schema import OHLC_INTERVALS
from lakehouse.settings import Settings
from lakehouse.stores.halted import halted
from lakehouse.stores.questdb import QuestDB

REFRESH_S = 30.0


def any_halted(settings: Settings) -> bool:
    """Whether QuestDB has halted some table or view."""
    questdb = QuestDB(settings)
    try:
        return bool(halted(questdb))
    finally:
        questdb.close()


def wrong_candles(questdb: QuestDB) -> list[str]:
    """The symbols' candles whose trades are not those of bronze, once QuestDB has had time to refresh its views."""
    deadline = time.monotonic() + REFRESH_S
    while (wrong := _differing(questdb)) and time.monotonic() < deadline:
        time.sleep(0.5)
    return wrong


def _differing(questdb: QuestDB) -> list[str]:
    held = dict(questdb.rows("SELECT symbol, count() FROM bronze_trades"))
    wrong = []
    for view in (f"gold_ohlc_{interval}" for interval in OHLC_INTERVALS):
        counted = dict(questdb.rows(f"SELECT symbol, sum(trades) FROM {view}"))
        wrong += [
            f"{view} {symbol}: {counted.get(symbol)} of {n} trades"
            for symbol, n in held.items()
            if counted.get(symbol) != n
        ]
    return wrong
