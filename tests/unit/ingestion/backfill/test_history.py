"""History over REST: pages are kept, what bronze holds is not asked for, and an end says why."""

import threading
from datetime import UTC, timedelta
from pathlib import Path

import httpx
import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.backfill.history import PageCache, fetch_history, to_ns, to_time
from ingestion.backfill.pending import Pending
from ingestion.completeness.held_spans import HeldSpan
from ingestion.kraken.rest_client import KrakenRest
from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import HISTORY_TOPIC
from tests.support.recorder import Recorder
from tests.support.scripted_rest import START, Kraken, at

BTC = "BTC/USD"


def cache_of(kraken: Kraken, folder: Path, stop: threading.Event | None = None) -> PageCache:
    http = httpx.Client(base_url="http://kraken", transport=httpx.MockTransport(kraken))
    return PageCache(folder, KrakenRest(http, 0.0, now=lambda: START + timedelta(days=1)), stop or threading.Event())


def test_history_is_paged_once_and_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.backfill.history.PAGE", 100)
    kraken, publisher = Kraken(list(range(1, 1001)), page=100), Recorder()
    work = [(BTC, (), at(11))]
    (fetched,) = fetch_history(work, at(901), cache_of(kraken, tmp_path), publisher, Pending(tmp_path))
    sent = [event["trade_id"] for event in publisher.events]
    assert sorted(set(sent)) == list(range(11, 901)) and fetched.sent == len(sent) <= 900
    assert {topic for topic, _, _ in publisher.sent} == {HISTORY_TOPIC}
    assert Pending(tmp_path).spans(BTC) == [(at(11) + timedelta(microseconds=1), at(900) + timedelta(microseconds=1))]
    calls = len(kraken.asked)
    fetch_history(work, at(901), cache_of(kraken, tmp_path), Recorder(), Pending(tmp_path))
    assert len(kraken.asked) == calls <= 11


def test_what_bronze_holds_is_neither_asked_for_nor_sent(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.backfill.history.PAGE", 100)
    kraken, publisher = Kraken(list(range(1, 20_001)), page=100), Recorder()
    held = HeldSpan(at(6000), at(18_000), 5_001, 19_000)
    fetch_history([(BTC, [held], at(1))], at(20_001), cache_of(kraken, tmp_path), publisher, Pending(tmp_path))
    assert {event["trade_id"] for event in publisher.events} == {*range(1, 5001), *range(19_001, 20_001)}
    asked = [to_time(since) for since in kraken.asked]
    assert sum(held.start <= when < held.end for when in asked) == 0
    assert len(asked) < 100


def test_the_last_page_is_not_kept_since_it_grows(tmp_path: Path) -> None:
    kraken = Kraken([1, 2, 3])
    for _ in range(2):
        fetch_history([(BTC, (), at(1))], at(10), cache_of(kraken, tmp_path), Recorder(), Pending(tmp_path))
    assert len(kraken.asked) == 4 and list(tmp_path.rglob("*.json")) == [tmp_path / "pending-BTC-USD.json"]


@pytest.mark.parametrize("rows_left", [0, 40])
def test_a_page_cut_short_does_not_end_the_walk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, rows_left: int
) -> None:
    monkeypatch.setattr("ingestion.backfill.history.PAGE", 100)

    class Hiccup(Kraken):
        def __call__(self, request: httpx.Request) -> httpx.Response:
            self.page = rows_left if len(self.asked) == 3 else 100
            return super().__call__(request)

    publisher = Recorder()
    work = [(BTC, (), at(1))]
    fetch_history(work, at(901), cache_of(Hiccup(list(range(1, 1001))), tmp_path), publisher, Pending(tmp_path))
    assert {event["trade_id"] for event in publisher.events} == set(range(1, 901))


def test_a_stop_and_an_unknown_pair_end_it_with_words(tmp_path: Path) -> None:
    stop = threading.Event()
    stop.set()
    with pytest.raises(RetryableError, match="run the same command again"):
        cache_of(Kraken([1]), tmp_path, stop).page(BTC, 0)
    kraken = Kraken([1])
    kraken.refusals = ["EQuery:Unknown asset pair"]
    with pytest.raises(FatalError, match="Unknown asset pair"):
        cache_of(kraken, tmp_path).page(BTC, 0)


def test_a_throttle_is_waited_out(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.kraken.rest_client.Pace.FIRST_PAUSE_S", 0.01)
    kraken = Kraken([1, 2])
    kraken.refusals = ["EGeneral:Too many requests"]
    assert len(cache_of(kraken, tmp_path).page(BTC, 0).trades) == 2


@given(st.integers(0, 2**60))
def test_times_and_nanoseconds(ns: int) -> None:
    assert to_ns(to_time(ns)) == ns // 1000 * 1000
    assert orjson.dumps(to_time(ns)) and to_time(ns).tzinfo is UTC
