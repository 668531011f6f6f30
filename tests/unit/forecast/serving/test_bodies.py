"""Request bodies: every form gives the same matrix, and every fault is named where it is."""

from http import HTTPStatus
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from forecast.serving.bodies import LABELS, MAX_ROWS, Parser, load_object
from forecast.serving.problems import Problem

NAMES = ("bid", "rv_1m", "a/b~c")
PARSER = Parser(NAMES, "abc")
ROW = {"bid": 1.5, "rv_1m": None, "a/b~c": 3}


def _refused(data: object) -> Problem:
    with pytest.raises(Problem) as caught:
        PARSER.rows(data)
    assert caught.value.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return caught.value


def _pointers(problem: Problem) -> list[str]:
    return [error.pointer for error in problem.errors]


@pytest.mark.parametrize("data", [[1.5, None, 3], [[1.5, None, 3]], [ROW], [{**ROW, "symbol": "BTC/USD"}]])
def test_all_forms_give_the_same_row(data: list[Any]) -> None:
    np.testing.assert_array_equal(PARSER.rows(data).matrix, [[1.5, np.nan, 3.0]])


def test_labels_are_kept_apart_from_features() -> None:
    labels = {"symbol": "BTC/USD", "as_of": "2026-01-01T00:00:00Z", "spec": "abc", "epoch": 1, "seq": 7}
    rows = PARSER.rows([{**ROW, **labels}, ROW])
    assert rows.labels == [labels, {}]
    assert rows.matrix.shape == (2, 3)


def test_each_missing_unknown_and_wrong_field_is_named() -> None:
    assert _pointers(_refused([ROW, {"bid": 1.0, "ask": 2.0}])) == ["/data/1/rv_1m", "/data/1/a~1b~0c", "/data/1/ask"]
    assert _pointers(_refused([{**ROW, "bid": "1.5", "a/b~c": True}])) == ["/data/0/bid", "/data/0/a~1b~0c"]
    assert _pointers(_refused([1.0, [], 3])) == ["/data/1"]
    assert _pointers(_refused([[1.0, 2.0]])) == ["/data/0"]
    assert _pointers(_refused([{**ROW, "bid": 1e300}])) == ["/data/0/bid"]
    assert _pointers(_refused([{**ROW, "spec": "other"}])) == ["/data/0/spec"]
    assert _pointers(_refused([{**ROW, "seq": "7"}])) == ["/data/0/seq"]


@pytest.mark.parametrize("data", [None, {}, [], "x", 1, [ROW, 1], [[1, 2, 3], None], [[]], [{}]])
def test_wrong_shapes_are_refused(data: object) -> None:
    _refused(data)


def test_too_many_rows_are_refused() -> None:
    assert str(MAX_ROWS) in _refused([[1, 2, 3]] * (MAX_ROWS + 1)).detail


@pytest.mark.parametrize("raw", [b"", b"{", b'{"a": NaN}', b'{"a": 1e999}', b"\xff", b"[1,2"])
def test_what_is_not_json_is_a_bad_request(raw: bytes) -> None:
    with pytest.raises(Problem) as caught:
        load_object(raw)
    assert caught.value.status == HTTPStatus.BAD_REQUEST


JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from([*NAMES, *LABELS, "x"]), inner),
    max_leaves=12,
)


@given(JSON)
def test_any_json_is_read_or_refused_but_never_crashes(data: object) -> None:
    try:
        rows = PARSER.rows(data)
    except Problem as problem:
        assert problem.status == HTTPStatus.UNPROCESSABLE_ENTITY
        assert problem.errors
    else:
        assert rows.matrix.shape == (len(rows.labels), len(NAMES))
        assert not np.isinf(rows.matrix).any()


@given(st.lists(st.lists(st.none() | st.floats(-1e30, 1e30), min_size=3, max_size=3), min_size=1, max_size=5))
def test_numbers_arrive_as_they_were_sent(values: list[list[float | None]]) -> None:
    matrix = PARSER.rows(orjson.loads(orjson.dumps(values))).matrix
    np.testing.assert_array_equal(matrix, np.array(values, dtype=float))
