"""Spans that bronze holds without a hole, and how far a walk through history may skip."""

from datetime import datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from ingestion.completeness.held_spans import MINUTE, HeldSpan, Minute, held_spans, is_held, skip
from tests.support.scripted_rest import START


def minute(number: int, first: int, last: int, ids: int | None = None) -> Minute:
    return Minute(START + number * MINUTE, first, last, last - first + 1 if ids is None else ids)


def test_whole_minutes_that_follow_each_other_are_one_span() -> None:
    minutes = [
        minute(0, 1, 9),
        minute(1, 10, 19),
        minute(5, 20, 29),
        minute(6, 31, 39),
        minute(7, 40, 49),
        minute(8, 50, 59),
    ]
    assert held_spans(minutes) == [
        HeldSpan(START + MINUTE, START + 5 * MINUTE, 1, 29),
        HeldSpan(START + 7 * MINUTE, START + 8 * MINUTE, 31, 59),
    ]


def test_a_minute_with_a_hole_parts_two_spans() -> None:
    minutes = [minute(i, 10 * i, 10 * i + 9, 9 if i == 3 else 10) for i in range(7)]
    assert [(span.first_id, span.last_id) for span in held_spans(minutes)] == [(0, 29), (40, 69)]


@given(st.sets(st.integers(0, 400), min_size=1))
def test_a_skip_never_jumps_over_a_trade_that_is_missing(held: set[int]) -> None:
    """Trade i happens 7 s after trade i-1; bronze holds some of them."""
    when = {i: START + timedelta(seconds=7 * i) for i in range(401)}
    by_minute: dict[datetime, list[int]] = {}
    for i in sorted(held):
        by_minute.setdefault(when[i].replace(second=0), []).append(i)
    spans = held_spans(Minute(ts, min(ids), max(ids), len(ids)) for ts, ids in by_minute.items())
    for i in range(401):
        to = skip(when[i], spans)
        assert to >= when[i]
        assert all(j in held for j in range(401) if when[i] <= when[j] < to)
        assert not is_held(i, spans) or i in held
