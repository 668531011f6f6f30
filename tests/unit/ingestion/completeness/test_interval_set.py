"""The interval set against a plain set."""

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.completeness.interval_set import IntervalSet

IDS = st.lists(st.integers(-40, 60), max_size=40)


@given(st.lists(IDS, max_size=6), IDS)
def test_it_holds_what_a_set_holds(batches: list[list[int]], asked: list[int]) -> None:
    plain: set[int] = set()
    held = IntervalSet()
    for batch in batches:
        held.add(np.array(batch, np.int64))
        plain |= set(batch)
        assert held.contains(np.array(asked, np.int64)).tolist() == [x in plain for x in asked]
        assert len(held) == len(plain)
        assert {x for first, last in held for x in range(first, last + 1)} == plain


@given(IDS)
def test_intervals_are_as_few_as_can_be(ids: list[int]) -> None:
    spans = list(IntervalSet.of(np.array(ids, np.int64)))
    assert all(last + 1 < first for (_, last), (first, _) in itertools.pairwise(spans))


@given(IDS)
def test_holes_are_what_lies_between(ids: list[int]) -> None:
    holes = {x for first, last in IntervalSet.of(np.array(ids, np.int64)).holes() for x in range(first, last + 1)}
    between = set(range(min(ids), max(ids) + 1)) if ids else set()
    assert holes == between - set(ids)


@given(st.lists(st.tuples(st.integers(-20, 40), st.integers(0, 15)), min_size=1, max_size=12), IDS)
def test_spans_may_overlap(spans: list[tuple[int, int]], before: list[int]) -> None:
    spans.sort()
    held = IntervalSet.of(np.array(before, np.int64))
    held.add_spans(np.array([a for a, _ in spans]), np.array([a + n for a, n in spans]))
    assert {x for a, b in held for x in range(a, b + 1)} == {x for a, n in spans for x in range(a, a + n + 1)} | set(
        before
    )


@pytest.mark.timeout(30)
def test_sparse_ids_by_the_hundred_thousand_stay_quick() -> None:
    ids = np.arange(0, 1_700_000, 2)
    held = IntervalSet()
    for part in np.array_split(ids, 60):
        held.add(part)
    assert len(held) == 850_000
    assert not held.contains(ids + 1).any()
    assert held.contains(ids).all()
