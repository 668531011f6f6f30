"""A few refused rows are poison, a flood of them is a fault of the table."""

from collections.abc import Sequence

import pytest

from ingestion.consumer.refusals import MAX_REFUSED, WINDOW_ROWS, RefusalLimit
from lakehouse.errors import FatalError, PoisonError

BAD = PoisonError("refused", "field value is invalid")


def refused(batches: Sequence[tuple[int, int]]) -> int:
    """How many rows are set aside before the limit stops it; each batch is (rows, of which bad)."""
    limit, aside = RefusalLimit("bronze_quotes"), 0
    for rows, bad in batches:
        limit.offer(rows)
        for _ in range(bad):
            limit.refuse(BAD)
            aside += 1
    return aside


def test_a_batch_refused_whole_stops_after_a_few_rows() -> None:
    limit = RefusalLimit("bronze_quotes")
    limit.offer(2550)
    for _ in range(25):
        limit.refuse(BAD)
    with pytest.raises(FatalError, match=r"refused 26 of the last 2550 rows of bronze_quotes.*field value is invalid"):
        limit.refuse(BAD)


def test_live_batches_of_a_row_each_are_counted_together() -> None:
    assert refused([(1, 1)] * MAX_REFUSED) == MAX_REFUSED
    with pytest.raises(FatalError):
        refused([(1, 1)] * (MAX_REFUSED + 1))


def test_poison_among_good_rows_is_set_aside_for_ever() -> None:
    assert refused([(WINDOW_ROWS, 100)] * 5) == 500
    assert refused([(1000, 10)] * 30) == 300


def test_what_was_refused_long_ago_counts_no_more() -> None:
    assert refused([(20, 20), (WINDOW_ROWS, 0), (20, 20)]) == 40
