"""The queue: order, each row once, and conflation that is counted."""

from datetime import UTC, datetime

from hypothesis import given
from hypothesis import strategies as st

from downstream.conflating_queue import ConflatingQueue
from lakehouse.records import FeatureRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def _row(symbol: str, seq: int, epoch: int = 1) -> FeatureRow:
    return FeatureRow(symbol, NOW, "abc", epoch, seq, True, NOW, {})


def test_rows_come_out_in_order_and_at_most_so_many() -> None:
    box = ConflatingQueue(most=10)
    for seq in range(5):
        assert box.put(_row("A", seq)) == 0
    assert [r.seq for r in box.take(3, 0)] == [0, 1, 2]
    assert [r.seq for r in box.take(3, 0)] == [3, 4]
    assert box.take(3, 0) == []


def test_what_was_seen_or_is_older_is_not_taken_again() -> None:
    box = ConflatingQueue(most=10)
    box.put(_row("A", 5))
    assert (box.put(_row("A", 5)), box.put(_row("A", 4)), box.put(_row("B", 4))) == (0, 0, 0)
    box.take(10, 0)
    box.put(_row("A", 5))
    box.put(_row("A", 0, epoch=2))
    assert [(r.symbol, r.epoch) for r in box.take(10, 0)] == [("A", 2)]


def test_too_many_leave_the_newest_per_symbol() -> None:
    box = ConflatingQueue(most=4)
    skipped = [box.put(_row(symbol, seq)) for seq in range(3) for symbol in "AB"]
    assert skipped == [0, 0, 0, 0, 3, 0]
    assert [(r.symbol, r.seq) for r in box.take(10, 0)] == [("B", 1), ("A", 2), ("B", 2)]


@given(st.lists(st.tuples(st.sampled_from("ABC"), st.integers(0, 30), st.booleans())), st.integers(1, 6))
def test_every_new_row_is_taken_or_counted(steps: list[tuple[str, int, bool]], most: int) -> None:
    box = ConflatingQueue(most)
    new, taken, skipped = 0, 0, 0
    newest: dict[str, int] = {}
    for symbol, seq, take in steps:
        new += seq > newest.get(symbol, -1)
        newest[symbol] = max(seq, newest.get(symbol, -1))
        skipped += box.put(_row(symbol, seq))
        taken += len(box.take(2, 0)) if take else 0
    taken += len(box.take(1000, 0))
    assert new == taken + skipped
