"""Backfills: what bronze holds is not asked for, pages are kept, ids judged, and nothing is sent that is not wanted."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from unittest.mock import Mock

import httpx
import numpy as np
import orjson
import polars as pl
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingestion.backfill.__main__ import _check, _parser
from ingestion.backfill.columns import LINE
from ingestion.backfill.history import PageCache, fetch_history, to_ns, to_time
from ingestion.backfill.loading import Loader, encoded
from ingestion.backfill.pending import Pending
from ingestion.backfill.progress import Journal, Progress, identity
from ingestion.completeness.density import Density
from ingestion.completeness.held_spans import MINUTE, HeldSpan, Minute, held_spans, is_held, skip
from ingestion.kraken.rest_client import KrakenRest
from ingestion.silver.rebuild import NEAR, merged
from lakehouse.errors import FatalError, RetryableError
from lakehouse.messages import decode
from lakehouse.settings import HISTORY_TOPIC
from tests.unit.ingestion.producer.test_gap_filler import START, Kraken, at
from tests.unit.ingestion.recorder import Recorder

BTC = "BTC/USD"


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


def test_spans_of_work_are_joined_when_near_and_survive_on_disk(tmp_path: Path) -> None:
    a, b, c = START, START + NEAR, START + 5 * NEAR
    assert merged([(c, c), (a, a), (b, b)]) == [(a, b), (c, c)]
    pending = Pending(tmp_path)
    for one in (a, b, c):
        pending.add(BTC, one, one)
    assert Pending(tmp_path).spans(BTC) == [(a, b), (c, c)]
    Pending(tmp_path).remove(BTC, (a, b))
    assert Pending(tmp_path).spans(BTC) == [(c, c)]
    assert Pending(tmp_path).spans("ETH/USD") == []


@pytest.mark.parametrize(
    ("pieces", "dense"),
    [
        ([[1, 2, 3], [4, 5]], True),
        ([[3, 1, 2], [5, 4]], True),
        ([[1, 2], [2, 3]], False),
        ([[1, 2], [4]], False),
        ([[1, 3]], False),
        ([[-1, -2, -3]], False),
        ([[0, 1]], False),
        ([[], [7]], True),
    ],
)
def test_ids_are_dense_when_positive_and_without_holes(pieces: list[list[int]], dense: bool) -> None:
    ids = Density()
    for piece in pieces:
        ids.offer(np.array(piece, np.int64))
    assert ids.dense is dense


def test_rows_become_messages_that_the_consumer_reads() -> None:
    rows = pl.DataFrame(
        {LINE: [1, 2], "ts": [at(1), at(2)], "trade_id": [1, 2], "price": [1.5, 2.5], "qty": [1.0, 2.0]}
        | {"side": ["buy", None], "ord_type": [None, "market"], "symbol": [BTC, BTC]},
        schema_overrides={"ts": pl.Datetime("us", "UTC")},
    )
    events = decode(list(encoded(rows, "trade", START)), 1, [10, 11])
    assert (
        events.select("ts", "trade_id", "price", "qty", "side", "ord_type", "symbol").rows()
        == rows.select("ts", "trade_id", "price", "qty", "side", "ord_type", "symbol").rows()
    )
    assert set(events["type"]) == {"trade"} and set(events["source"]) == {"file"}
    assert events["received_at"].to_list() == [START, START]


def test_a_file_is_known_by_its_bytes_and_its_use(tmp_path: Path) -> None:
    one, same, other = (tmp_path / name for name in ("one.csv", "same.csv", "other.csv"))
    for path, text in ((one, "a"), (same, "a"), (other, "b")):
        path.write_text(text)
    assert identity(one, BTC, "trade", BTC) == identity(same, BTC, "trade", BTC)
    eth = "ETH/USD"
    uses = [(one, BTC, "trade", BTC), (one, eth, "trade", eth), (one, BTC, "quote", BTC), (one, BTC, "trade", "BTCUSD")]
    assert len({identity(*use) for use in uses} | {identity(other, BTC, "trade", BTC)}) == 5
    journal = Journal(tmp_path / "journal", one, BTC, "trade", BTC)
    assert journal.read() is None
    journal.write(Progress("one.csv", row=7, offsets={"3": 11}))
    found = Journal(tmp_path / "journal", same, BTC, "trade", BTC).read()
    assert found == Progress("one.csv", row=7, offsets={"3": 11})


def test_a_file_killed_after_its_last_row_still_gets_its_silver(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingestion.backfill.files.CHUNK", 2)
    monkeypatch.setattr("ingestion.backfill.loading.ends", lambda _: {})
    path = tmp_path / "trades.csv"
    path.write_text("time,price,qty,trade_id\n" + "".join(f"{at(i).timestamp()},1,1,{i}\n" for i in range(1, 6)))

    class Killed(Recorder):
        def flush(self, timeout_s: float) -> int:
            if len(self.sent) == 5:
                raise RetryableError("killed")
            return super().flush(timeout_s)

    def load(publisher: Recorder, row: int) -> None:
        monkeypatch.setattr("ingestion.backfill.loading.caught_up", lambda _c, _f, found: replace(found, row=row))
        loader = Loader(publisher, Mock(), tmp_path / "journal", Mock(), Pending(tmp_path))
        loader.load(path, BTC, "trade", BTC)

    publisher = Killed()
    with pytest.raises(RetryableError, match="killed"):
        load(publisher, 0)
    assert len(publisher.sent) == 5
    assert Pending(tmp_path).spans(BTC) == [(at(1), at(5))]
    again = Recorder()
    load(again, 6)
    assert again.sent == []
    assert Pending(tmp_path).spans(BTC) == [(at(1), at(5))]


@pytest.mark.parametrize(
    "arguments",
    [
        ("--symbol", "ETHUSD", "--since", "2026-01-01"),
        ("--symbol", "BTC/USD", "--symbol", "eth/usd", "--since", "2026-01-01"),
        ("--symbol", "eth/usd", "--file", "trades.csv"),
    ],
)
def test_a_symbol_in_another_spelling_is_refused_before_anything_is_sent(arguments: tuple[str, ...]) -> None:
    with pytest.raises(FatalError, match=r"did you mean ETH/USD\?"):
        _check(_parser().parse_args(arguments))


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
