"""Each failure of REST carries its decision; the pace of asking follows what Kraken answers."""

from datetime import timedelta

import httpx
import pytest

from ingestion.kraken.rest_client import Pace
from ingestion.kraken.rest_messages import ThrottledError
from lakehouse.errors import FatalError, RetryableError
from tests.support.scripted_rest import START, rest_of

BTC = "BTC/USD"


@pytest.mark.parametrize(
    ("response", "error"),
    [
        (httpx.Response(503, text="<html>"), RetryableError),
        (httpx.Response(200, text="<html>"), RetryableError),
        # A proxy says gzip and sends plain text; a stream, since bytes would be decoded here already.
        (httpx.Response(200, headers={"content-encoding": "gzip"}, content=iter([b"<html>"])), RetryableError),
        (httpx.Response(200, json={"error": ["EGeneral:Too many requests"]}), ThrottledError),
        (httpx.Response(200, json={"error": ["EQuery:Unknown asset pair"]}), FatalError),
    ],
)
def test_every_failure_carries_its_decision(response: httpx.Response, error: type[Exception]) -> None:
    rest = rest_of(lambda _: response)
    with pytest.raises(error):
        rest.trades(BTC, 0)
    assert rest.wait_s(BTC) >= Pace.FIRST_PAUSE_S
    assert (rest.wait_s("ETH/USD") <= 0) is (error is FatalError)


def test_a_throttle_names_its_end() -> None:
    until = int((START + timedelta(hours=1, seconds=90)).timestamp())
    rest = rest_of(lambda _: httpx.Response(200, json={"error": [f"EService:Throttled: {until}"]}))
    with pytest.raises(ThrottledError):
        rest.trades(BTC, 0)
    assert rest.wait_s(BTC) == 90.0


def test_pairs_do_not_wait_for_each_other_but_all_wait_for_a_throttle() -> None:
    pace = Pace(1.0)
    pace.asked("A", 0.0)
    assert pace.wait_s("A", 0.0) == 1.0 and pace.wait_s("B", 0.0) <= 0
    for pause in (5.0, 10.0, 20.0, 40.0, 60.0, 60.0):
        pace.failed(100.0)
        assert pace.wait_s("B", 100.0) == pause
    pace.answered("A")
    pace.failed(200.0)
    assert pace.wait_s("A", 200.0) == 5.0


def test_a_refused_pair_waits_longer_each_time_until_it_is_known() -> None:
    pace = Pace(1.0)
    for pause in (5.0, 10.0, 20.0, 40.0, 80.0, 160.0, 320.0, 600.0, 600.0):
        pace.asked("A", 100.0)
        pace.refused("A", 100.0)
        assert (pace.wait_s("A", 100.0), pace.wait_s("B", 100.0)) == (pause, -100.0)
    pace.answered("A")
    pace.refused("A", 200.0)
    assert pace.wait_s("A", 200.0) == 5.0


def test_each_throttle_makes_the_pace_slower_up_to_a_point() -> None:
    pace = Pace(1.0)
    for interval in (1.5, 2.25, 3.0, 3.0):
        pace.slow_down()
        pace.asked("A", 10.0)
        assert pace.wait_s("A", 10.0) == interval
    for _ in range(100):
        pace.answered("A")
    pace.asked("A", 20.0)
    assert pace.wait_s("A", 20.0) == 1.0, "answers bring it back"
    hasty = Pace(5.0)
    hasty.slow_down()
    hasty.asked("A", 0.0)
    assert hasty.wait_s("A", 0.0) == 5.0
