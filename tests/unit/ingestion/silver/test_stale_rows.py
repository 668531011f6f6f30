"""Which spans of silver are made anew: those served with a hole that was filled since, once."""

from datetime import UTC, datetime, timedelta

from ingestion.silver.stale_rows import MINUTE, choose

AT = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTES = [AT + i * MINUTE for i in range(60)]
REFILLED = [(AT, AT + timedelta(hours=1))]
AFTER = int((AT + timedelta(hours=2)).timestamp() * 1e6)


def test_rows_behind_a_refilled_hole_are_one_span() -> None:
    assert choose(MINUTES, REFILLED, [], []) == [(AT, AT + timedelta(hours=1))]


def test_nothing_to_do_without_late_trades_or_while_the_hole_is_open() -> None:
    assert choose(MINUTES, [], [], []) == []
    assert choose(MINUTES, REFILLED, [AT], []) == []
    assert choose([], REFILLED, [], []) == []


def test_a_finished_rebuild_counts_only_if_it_began_after_the_refill() -> None:
    span = (AT, AT + timedelta(hours=1))
    assert choose(MINUTES, REFILLED, [], [(AFTER, *span)]) == []
    early = int(AT.timestamp() * 1e6)
    assert choose(MINUTES, REFILLED, [], [(early, *span)]) == [span]
    half = (AFTER, AT, AT + timedelta(minutes=30))
    assert choose(MINUTES, REFILLED, [], [half]) == [(AT + timedelta(minutes=30), AT + timedelta(hours=1))]


def test_rows_served_after_the_refill_knew_of_it() -> None:
    early = [(AT, AT + timedelta(minutes=20))]
    assert choose(MINUTES, early, [], []) == [(AT, AT + timedelta(minutes=20))]


def test_rows_more_than_an_hour_after_the_hole_do_not_know_of_it() -> None:
    late = [AT + timedelta(minutes=61), AT + timedelta(minutes=60)]
    assert choose(late, [(AT, AT + timedelta(hours=3))], [], []) == [
        (AT + timedelta(minutes=60), AT + timedelta(minutes=61))
    ]
