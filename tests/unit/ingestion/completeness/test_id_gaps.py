"""The id filter: whatever is dropped, doubled or reordered, its holes are exactly the ids that did not come."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingestion.completeness.id_gaps import IdFilter, filter_of

START = datetime(2026, 9, 25, tzinfo=UTC)


def at(trade_id: int) -> datetime:
    return START + timedelta(milliseconds=trade_id)


ids = st.integers(0, 60)
arrivals = st.lists(ids, min_size=1, max_size=120)


@given(arrivals)
def test_holes_are_the_complement_and_each_id_is_new_once(sequence: list[int]) -> None:
    seen = IdFilter()
    new = [i for i in sequence if seen.offer(i, at(i), 0.0)]
    came = {i for i in sequence if i >= sequence[0]}
    assert sorted(new) == sorted(came)
    missing = [i for hole in seen.holes for i in range(hole.first, hole.last + 1)]
    assert missing == [i for i in range(sequence[0], max(sequence) + 1) if i not in came]
    assert seen.missing == len(missing)


@given(arrivals)
def test_a_hole_knows_the_trades_around_it(sequence: list[int]) -> None:
    seen = IdFilter()
    for i in sequence:
        seen.offer(i, at(i), 0.0)
    for hole in seen.holes:
        assert (hole.after, hole.before) == (at(hole.first - 1), at(hole.last + 1))
        assert seen.hole_at(hole.first) is hole and seen.hole_at(hole.last) is hole
        assert seen.hole_at(hole.first - 1) is None and seen.hole_at(hole.last + 1) is None


@given(arrivals, ids, ids)
def test_what_is_given_up_is_missed_no_longer_and_nothing_else(sequence: list[int], one: int, other: int) -> None:
    first, last = sorted((one, other))
    seen = IdFilter()
    for i in sequence:
        seen.offer(i, at(i), 0.0)
    before = {i for hole in seen.holes for i in range(hole.first, hole.last + 1)}
    count = seen.give_up(first, last)
    after = {i for hole in seen.holes for i in range(hole.first, hole.last + 1)}
    assert after == {i for i in before if not first <= i <= last}
    assert count == len(before) - len(after)


@given(st.sets(ids, min_size=1))
def test_a_filter_made_from_the_log_goes_on_where_the_log_ends(held: set[int]) -> None:
    seen = filter_of(((i, at(i)) for i in held), 5.0)
    assert (seen.floor, seen.top, seen.top_ts) == (min(held), max(held), at(max(held)))
    assert seen.missing == max(held) - min(held) + 1 - len(held)
    assert all(hole.noticed == 5.0 for hole in seen.holes)


def test_time_of_notice_is_that_of_the_trade_that_showed_the_hole() -> None:
    seen = IdFilter()
    for now, trade_id in enumerate((1, 4, 9, 2)):
        seen.offer(trade_id, at(trade_id), float(now))
    assert [(hole.first, hole.last, hole.noticed) for hole in seen.holes] == [(3, 3, 1.0), (5, 8, 2.0)]
