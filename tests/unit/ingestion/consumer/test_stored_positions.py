"""A QuestDB that is put back to an earlier copy under a running consumer is noticed before it records more."""

import polars as pl
import pytest

from ingestion.consumer.stored_positions import PositionRecord
from ingestion.kafka_log.position import Position
from lakehouse.errors import FatalError
from lakehouse.schema import Table

KEY = ("market.events", 2)


class OnePosition:
    """Stands in for QuestDB: holds the rows of `meta_positions`."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, int], tuple[str, int, int, int]] = {}

    def write(self, _table: Table, frame: pl.DataFrame) -> None:
        for row in frame.iter_rows(named=True):
            self.held[row["topic"], row["partition_id"]] = tuple(
                row[name] for name in ("topic", "partition_id", "epoch", "next_seq")
            )

    def wait_applied(self, _tables: list[str]) -> None:
        """Everything written is visible."""

    def rows(self, _sql: str) -> list[tuple[str, int, int, int]]:
        return list(self.held.values())


@pytest.mark.parametrize("copy", [{}, {KEY: (*KEY, 1, 300)}])
def test_an_earlier_copy_stops_the_consumer_before_it_records_a_new_position(
    copy: dict[tuple[str, int], tuple[str, int, int, int]],
) -> None:
    questdb = OnePosition()
    clock = iter(range(100))
    record = PositionRecord(questdb, lambda: next(clock))  # type: ignore[arg-type]
    record.store({KEY: Position(1, 700)})
    questdb.held = dict(copy)
    for _ in range(2):
        with pytest.raises(FatalError, match="told 700: its folder is an earlier copy"):
            record.store({KEY: Position(1, 800)})
    assert questdb.held == copy


def test_a_restart_that_lost_nothing_stops_nobody() -> None:
    questdb = OnePosition()
    clock = iter(range(100))
    record = PositionRecord(questdb, lambda: next(clock))  # type: ignore[arg-type]
    record.store({KEY: Position(1, 700)})
    record.store({KEY: Position(1, 800)})
    assert questdb.held[KEY] == (*KEY, 1, 800)


def test_a_partition_that_another_member_took_over_is_no_longer_ours_to_judge() -> None:
    questdb = OnePosition()
    clock = iter(range(100))
    record = PositionRecord(questdb, lambda: next(clock))  # type: ignore[arg-type]
    record.store({KEY: Position(1, 700), ("market.events", 3): Position(1, 5)})
    questdb.held[KEY] = (*KEY, 1, 10)
    record.forget({2})
    record.store({("market.events", 3): Position(1, 6)})


def test_quick_batches_do_not_ask() -> None:
    questdb = OnePosition()
    record = PositionRecord(questdb, lambda: 0.0)  # type: ignore[arg-type]
    record.store({KEY: Position(1, 700)})
    questdb.held.clear()
    record.store({KEY: Position(1, 800)})
    assert questdb.held[KEY] == (*KEY, 1, 800)
