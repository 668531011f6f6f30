"""What several integration tests need of a lake: believable feature rows, and waiting for something to come true."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import TypeVar

from features.spec import NAMES, EngineConfig, spec_hash
from lakehouse.errors import RetryableError
from lakehouse.records import FeatureRow
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB

T = TypeVar("T")
PRICES = frozenset(("bid", "ask", "mid", "last", "microprice"))


def spec_of(settings: Settings) -> str:
    """Hash of the feature definitions under these settings."""
    return spec_hash(EngineConfig.of(settings))


def feature_row(settings: Settings, symbol: str, seq: int, age_s: float = 0.0, price: float = 100.0) -> FeatureRow:
    """A row as the consumer publishes it, received ``age_s`` seconds ago."""
    now = datetime.now(UTC) - timedelta(seconds=age_s)
    values: dict[str, float | None] = {
        name: price if name in PRICES else 1e-6 * (i + 1) for i, name in enumerate(NAMES)
    }
    values["rv_24h"] = None
    return FeatureRow(symbol, now, spec_of(settings), 1, seq, True, now, values)


def drop_tables(settings: Settings) -> None:
    """Leaves QuestDB as it is on an empty folder."""
    database = QuestDB(settings)
    kinds = {"V": "VIEW", "M": "MATERIALIZED VIEW", "T": "TABLE"}
    found = database.rows("SELECT table_name, table_type FROM tables() WHERE NOT starts_with(table_name, 'sys.')")
    for kind in kinds:
        for name in (name for name, letter in found if letter == kind):
            database.execute(f'DROP {kinds[kind]} IF EXISTS "{name}"')
    database.close()


def eventually(ask: Callable[[], T | None], timeout_s: float = 60.0, every_s: float = 0.05) -> T:
    """The first truthy answer; servers being away counts as not yet."""
    deadline = time.monotonic() + timeout_s
    while True:
        try:
            answer: T | None = ask()
        except RetryableError:
            answer = None
        if answer:
            return answer
        assert time.monotonic() < deadline, f"not within {timeout_s:g} s"
        time.sleep(every_s)
