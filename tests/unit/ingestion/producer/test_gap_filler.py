"""Refilling over a scripted REST: only missing ids, page by page, at Kraken's pace; and what it does not have."""

import threading
from datetime import timedelta

import httpx
import orjson
import pytest

from ingestion.completeness.id_gaps import Hole, IdFilter, filter_of
from ingestion.producer.deduplicator import Deduplicator
from ingestion.producer.fill_turns import since_ns
from ingestion.producer.gap_filler import ABSENT_AFTER, PROBE_S, GapFiller, next_since
from lakehouse.records import Trade
from tests.support.recorder import Recorder
from tests.support.scripted_rest import Answer, Kraken, at, rest_of

BTC = "BTC/USD"
NEVER = threading.Event()


def refill_of(answer: Answer, *seen: int) -> tuple[GapFiller, Deduplicator, Recorder, list[str]]:
    publisher, doubts = Recorder(), list[str]()
    sink = Deduplicator(publisher, {BTC: filter_of(((i, at(i)) for i in seen), -100.0)}, timedelta(seconds=5))
    return GapFiller(rest_of(answer), sink, (BTC,), doubts.append), sink, publisher, doubts


def test_only_missing_ids_are_sent_with_times_in_order() -> None:
    kraken = Kraken(list(range(1, 20)))
    refill, sink, publisher, _ = refill_of(kraken, 3, 4, 8, 9, 12)
    refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == [5, 6, 7, 10, 11, *range(13, 20)]
    assert {e["source"] for e in publisher.events} == {"rest"}
    assert sink.holes(BTC, 0.0) == ()
    assert kraken.asked == [since_ns(at(4))]
    refill.step(BTC, NEVER)
    assert len(kraken.asked) == 1


def test_a_long_hole_is_paged_by_last_without_asking_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.producer.gap_filler.PAGE", 100)
    kraken = Kraken(list(range(1, 502)), page=100)
    refill, sink, publisher, _ = refill_of(kraken, 1, 501)
    for _ in range(10):
        refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == list(range(2, 501))
    assert sink.holes(BTC, 0.0) == ()
    assert len(kraken.asked) == len(set(kraken.asked)) == 6


def test_a_throttled_page_is_asked_again_from_where_it_was() -> None:
    kraken = Kraken(list(range(1, 10)))
    kraken.refusals = ["EGeneral:Too many requests", "EService:Unavailable"]
    refill, _, publisher, _ = refill_of(kraken, 1, 9)
    for _ in range(3):
        refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == list(range(2, 9))
    assert len(set(kraken.asked)) == 1


def test_ids_that_the_exchange_skips_too_are_given_up_after_some_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.producer.gap_filler.RETRY_S", 0.0)
    kraken = Kraken([1, 2, 5, 6])
    refill, sink, publisher, _ = refill_of(kraken, 1, 6)
    for _ in range(ABSENT_AFTER + 2):
        refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == [2, 5]
    assert sink.holes(BTC, 0.0) == ()
    assert len(kraken.asked) == ABSENT_AFTER
    # They show up after all: the ledger, which still lacks them, brings them up again.
    kraken.ids = [1, 2, 3, 4, 5, 6]
    refill.report({BTC: [Hole(3, 4, at(2), at(5), 0.0)]})
    refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == [2, 5, 3, 4]


def test_what_rest_does_not_show_yet_is_not_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.producer.gap_filler.RETRY_S", 0.0)
    kraken = Kraken([1, 2])
    refill, sink, _, _ = refill_of(kraken, 1, 6)
    for _ in range(ABSENT_AFTER + 5):
        refill.step(BTC, NEVER)
    assert [(hole.first, hole.last) for hole in sink.holes(BTC, 0.0)] == [(3, 5)]
    kraken.ids = [1, 2, 3, 4, 5, 6]
    refill.step(BTC, NEVER)
    assert sink.holes(BTC, 0.0) == ()


def test_between_fruitless_looks_it_waits() -> None:
    kraken = Kraken([1, 6])
    refill, _, _, _ = refill_of(kraken, 1, 6)
    for _ in range(5):
        refill.step(BTC, NEVER)
    assert len(kraken.asked) == 1


def test_a_fresh_hole_is_left_to_the_snapshot_for_a_moment() -> None:
    publisher = Recorder()
    sink = Deduplicator(publisher, {BTC: IdFilter()}, timedelta(seconds=5))
    kraken = Kraken([1, 2, 3])
    page, _ = rest_of(kraken).trades(BTC, 0)
    sink.trade(page.trades[0])
    sink.trade(page.trades[2])
    GapFiller(rest_of(kraken), sink, (BTC,), lambda _: None).step(BTC, NEVER)
    assert len(kraken.asked) == 1


def test_holes_that_the_ledger_reports_are_filled_below_what_this_process_knows_only() -> None:
    kraken = Kraken(list(range(1, 60)))
    refill, _, publisher, _ = refill_of(kraken, *range(50, 60))
    below, above = Hole(10, 12, at(9), at(13), 0.0), Hole(52, 53, at(51), at(54), 0.0)
    refill.report({BTC: [below, above]})
    for _ in range(3):
        refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == [10, 11, 12]


def test_one_page_fills_every_hole_of_the_ledger_it_covers() -> None:
    kraken = Kraken(list(range(1, 60)))
    refill, _, publisher, _ = refill_of(kraken, *range(50, 60))
    refill.report({BTC: [Hole(n, n + 1, at(n - 1), at(n + 2), 0.0) for n in (10, 20, 30)]})
    for _ in range(3):
        refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == [10, 11, 20, 21, 30, 31]
    assert len(kraken.asked) == 1


def test_holes_of_the_ledger_are_filled_though_there_is_always_a_newer_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.producer.gap_filler.GRACE_S", 0.0)
    kraken = Kraken(list(range(1, 60)))
    refill, sink, publisher, _ = refill_of(kraken, *range(50, 60))
    refill.report({BTC: [Hole(10, 12, at(9), at(13), 0.0), Hole(20, 20, at(19), at(21), 0.0)]})
    newest = 100
    for _ in range(4):
        newest += 2
        sink.trade(Trade(BTC, newest, 1.0, 1.0, "buy", "limit", at(newest), at(newest), "ws"))
        refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events if e["source"] == "rest"] == [10, 11, 12, 20]


@pytest.mark.parametrize("ledger", [True, False])
def test_a_new_hole_does_not_wait_for_the_end_of_a_long_one(monkeypatch: pytest.MonkeyPatch, ledger: bool) -> None:
    monkeypatch.setattr("ingestion.producer.gap_filler.GRACE_S", 0.0)
    monkeypatch.setattr("ingestion.producer.gap_filler.PAGE", 10)
    kraken = Kraken(list(range(1, 1100)), page=10)
    refill, sink, publisher, _ = refill_of(kraken, *((900, 1000) if ledger else (1, 900, 1000)))
    long = Hole(2, 899, at(1), at(900), 0.0)
    refill.report({BTC: [long] if ledger else []})
    sink.give_up(BTC, 901, 999)
    for _ in range(5):
        refill.step(BTC, NEVER)
    assert sink.trade(Trade(BTC, 1003, 1.0, 1.0, "buy", "limit", at(1003), at(1003), "ws"))
    refill.report({BTC: [long] if ledger else []})
    for _ in range(2):
        refill.step(BTC, NEVER)
    assert {1001, 1002} <= {e["trade_id"] for e in publisher.events}
    for _ in range(110):
        refill.step(BTC, NEVER)
    assert {e["trade_id"] for e in publisher.events} >= set(range(2, 900)), "and the long one is filled"
    assert len(kraken.asked) < 115, "no page of a hole named twice is asked twice"


def test_holes_may_be_reported_anew_while_one_is_being_chosen() -> None:
    class Overtaken(dict[str, list[Hole]]):
        """The audit's thread replaces the list after each look at it."""

        def __getitem__(self, symbol: str) -> list[Hole]:
            found = super().__getitem__(symbol)
            self[symbol] = []
            return found

    refill, _, publisher, _ = refill_of(Kraken(list(range(1, 60))), *range(50, 60))
    refill.report({BTC: [Hole(10, 12, at(9), at(13), 0.0)]})
    refill._reported = Overtaken(refill._reported)
    refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == [10, 11, 12]


def test_a_dead_stream_is_found_by_asking_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.producer.gap_filler.GRACE_S", 0.0)
    monkeypatch.setattr("ingestion.producer.gap_filler.PROBE_S", -1.0)
    refill, sink, publisher, doubts = refill_of(Kraken([1, 2, 3]), 1)
    refill.step(BTC, NEVER)
    assert doubts == [BTC]
    assert [e["trade_id"] for e in publisher.events] == [2, 3]
    assert sink.newest(BTC) == (3, at(3) + timedelta(microseconds=1))
    refill.step(BTC, NEVER)
    assert doubts == [BTC]


def test_a_quiet_stream_is_not_asked_about_all_the_time() -> None:
    kraken = Kraken([1])
    refill, _, _, doubts = refill_of(kraken, 1)
    refill.step(BTC, NEVER)
    assert PROBE_S > 60 and kraken.asked == [] and doubts == []


def test_a_bad_row_is_set_aside_and_the_rest_is_taken() -> None:
    def answer(request: httpx.Request) -> httpx.Response:
        rows = [["100.0", "1.0", at(i).timestamp(), "b" if i != 3 else "x", "m", "", i] for i in range(1, 6)]
        return httpx.Response(200, json={"error": [], "result": {"XXBTZUSD": rows, "last": "1"}})

    refill, _, publisher, _ = refill_of(answer, 1, 5)
    refill.step(BTC, NEVER)
    assert [e["trade_id"] for e in publisher.events] == [2, 4]
    ((payload, reason, origin),) = publisher.dead
    assert (orjson.loads(payload)[-1], reason, origin) == (3, "bad trade", "rest")


def test_an_unknown_pair_harms_no_other() -> None:
    refill, _, _, _ = refill_of(lambda _: httpx.Response(200, json={"error": ["EQuery:Unknown asset pair"]}), 1, 5)
    refill.step(BTC, NEVER)


def test_paging_ends_when_rest_has_no_more_or_the_hole_is_passed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingestion.producer.gap_filler.PAGE", 3)
    page, _ = rest_of(Kraken([1, 2, 3, 4, 5], page=3)).trades(BTC, 0)
    assert next_since(page, 0, 9) == page.last
    assert next_since(page, 0, 3) is None
    assert page.last is not None and next_since(page, page.last, 9) == page.last + 1
    short, _ = rest_of(Kraken([1, 2], page=3)).trades(BTC, 0)
    assert next_since(short, 0, 9) is None
