"""Where the consumer starts: the older of commit and stored position, or an error with a remedy."""

import pytest

from ingestion.consumer.start_offsets import lost_tables, place_after_loss, resumable, start_offset
from lakehouse.errors import FatalError


@pytest.mark.parametrize(
    ("trades", "quotes", "silver", "expected"),
    [
        ({0, 1}, {0, 1}, {0, 1}, []),
        ({0, 1}, {1}, {0, 1}, ["quotes"]),
        ({0, 1}, set(), set(), ["quotes", "silver"]),
        ({1}, {1}, {1}, []),  # nothing but poison ever came to partition 0
        (set(), set(), set(), ["trades", "quotes", "silver"]),  # an empty folder
    ],
)
def test_a_table_that_was_made_anew_shows_beside_the_others(
    trades: set[int], quotes: set[int], silver: set[int], expected: list[str]
) -> None:
    assert lost_tables({"trades": trades, "quotes": quotes, "silver": silver}, 0) == expected


@pytest.mark.parametrize(
    ("committed", "low", "high", "held", "expected"),
    [
        (120, 100, 200, 0, 120),  # goes on
        (200, 200, 200, 0, 200),  # at the end
        (None, 0, 50, 0, 0),  # a new lake
        (None, 0, 50, 30, 0),  # the group was lost, the log was not
        (None, 100, 200, 150, 100),  # the same, after trimming: all below 100 is in bronze
        (90, 100, 200, 150, 100),  # bronze was ahead of the commit
        (None, 0, 0, 0, 0),
    ],
)
def test_where_to_start(committed: int | None, low: int, high: int, held: int, expected: int) -> None:
    assert start_offset(committed, low, high, held, "t/0") == expected


@pytest.mark.parametrize(
    ("committed", "low", "high", "held"),
    [
        (90, 100, 200, 95),  # messages 95 to 99 are gone
        (None, 100, 200, 0),  # somebody else trimmed the log
        (300, 100, 200, 300),  # Kafka lost its tail
    ],
)
def test_a_lost_position_is_an_error_with_a_remedy(committed: int | None, low: int, high: int, held: int) -> None:
    with pytest.raises(FatalError, match="accept-loss"):
        start_offset(committed, low, high, held, "market.events/0")


@pytest.mark.parametrize(
    ("committed", "recorded", "low", "held", "expected"),
    [
        (700, 700, 0, 0, 700),  # nothing but poison in the partition: the position says so, bronze cannot
        (700, 300, 0, 290, 300),  # QuestDB is an earlier copy
        (500, 700, 0, 690, 500),  # killed between the position and the commit
        (700, 700, 700, 0, 700),  # all of it trimmed
        (700, None, 100, 650, 650),  # a lake from before positions were recorded
        (700, None, 700, 0, 700),
    ],
)
def test_the_older_of_commit_and_position_counts(
    committed: int, recorded: int | None, low: int, held: int, expected: int
) -> None:
    assert resumable(committed, recorded, low, held, "t/0") == expected


def test_what_neither_questdb_nor_kafka_holds_is_an_error_with_a_remedy() -> None:
    with pytest.raises(FatalError, match=r"give up 50 messages.*accept-loss"):
        resumable(700, 300, 350, 290, "market.events/0")


@pytest.mark.parametrize(
    ("committed", "recorded", "low", "high", "expected"),
    [
        (300, 300, 0, 200, 200),  # Kafka lost its tail and kept the commit
        (300, 700, 0, 400, 300),  # Kafka's folder is an earlier copy: 100 messages came since
        (None, 700, 100, 400, 100),  # from before the first commit
        (None, 700, 800, 900, 800),  # Kafka was trimmed meanwhile
        (90, 95, 100, 200, 100),
    ],
)
def test_what_kafka_still_has_is_not_given_up(
    committed: int | None, recorded: int, low: int, high: int, expected: int
) -> None:
    assert place_after_loss(committed, recorded, low, high) == expected
