"""The deduplicator's decisions: each trade once, each blind moment marked."""

from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import REGISTRY

from ingestion.completeness.id_gaps import Hole
from ingestion.producer.deduplicator import MAX_RESTARTED
from lakehouse.errors import FatalError
from lakehouse.messages import encode
from lakehouse.settings import EVENTS_TOPIC
from tests.support.producing import BTC, ETH, START, gaps, quote, sink_of, trade


def test_a_trade_goes_out_once_under_its_symbol() -> None:
    sink, publisher = sink_of()
    assert [sink.trade(trade(i)) for i in (5, 6, 6, 5, 8)] == [True, True, False, False, True]
    assert [(topic, key, event["trade_id"]) for topic, key, event in publisher.sent] == [
        (EVENTS_TOPIC, BTC, i) for i in (5, 6, 8)
    ]
    assert [(hole.first, hole.last) for hole in sink.holes(BTC, float("inf"))] == [(7, 7)]


def test_a_refilled_trade_never_comes_after_the_next_one_known() -> None:
    sink, publisher = sink_of(5, 8)
    late = replace(trade(7, source="rest"), ts=trade(8).ts + timedelta(microseconds=1))
    assert sink.refill(late) and sink.refill(trade(6, source="rest"))
    assert not sink.refill(trade(6, source="rest")) and not sink.refill(trade(8, source="rest"))
    assert [(e["trade_id"], e["ts"][-7:-1]) for e in publisher.events] == [(7, "008000"), (6, "006000")]
    assert sink.holes(BTC, float("inf")) == ()


def test_a_refilled_trade_older_than_this_process_needs_the_ledgers_word() -> None:
    sink, publisher = sink_of(50, 51)
    hole = Hole(10, 12, trade(9).ts, trade(13).ts, 0.0)
    assert not sink.refill(trade(11, source="rest"))
    assert sink.refill(trade(11, source="rest"), hole)
    assert not sink.refill(trade(13, source="rest"), hole)
    assert [e["trade_id"] for e in publisher.events] == [11]


def test_what_is_stamped_too_far_ahead_is_set_aside_and_stays_missing() -> None:
    sink, publisher = sink_of(5)
    ahead = replace(trade(6), ts=START + timedelta(minutes=1, seconds=5, microseconds=1))
    assert not sink.trade(ahead)
    assert publisher.dead == [(encode(ahead), "future", "ws")]
    sink.trade(trade(7))
    assert [(hole.first, hole.last) for hole in sink.holes(BTC, float("inf"))] == [(6, 6)]
    assert sink.trade(replace(ahead, ts=START + timedelta(minutes=1, seconds=5)))


def test_a_loss_is_marked_at_both_ends_and_once() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(100))
    sink.quote(quote(100, symbol=ETH))
    sink.lose_quotes([BTC, ETH], "closed_1012")
    sink.lose_quotes([BTC], "unreachable")
    sink.quote(quote(900, bid=101.0))
    assert gaps(publisher) == [
        (BTC, "00.100", "closed_1012"),
        (ETH, "00.100", "closed_1012"),
        (BTC, "00.900", "closed_1012: over"),
    ]
    assert [e["type"] for e in publisher.events][-2:] == ["gap", "quote"]


def test_a_quote_that_repeats_the_last_is_left_out_but_not_after_a_gap() -> None:
    sink, publisher = sink_of()
    same = quote(100)
    for one in (same, replace(same, received_at=same.received_at + timedelta(seconds=1))):
        sink.quote(one)
    assert len(publisher.sent) == 1
    sink.lose_quotes([BTC], "frozen")
    sink.quote(same)
    assert [e["type"] for e in publisher.events] == ["quote", "gap", "gap", "quote"]


def test_a_doubted_stream_was_blind_only_if_it_comes_back_different() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(100))
    sink.doubt_quotes(BTC)
    sink.quote(quote(200))
    assert gaps(publisher) == []
    sink.doubt_quotes(BTC)
    sink.quote(quote(300, bid=105.0))
    assert gaps(publisher) == [(BTC, "00.200", "silent"), (BTC, "00.300", "silent: over")]


def test_time_between_two_processes_is_a_gap_and_the_first_start_is_none() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(50))
    assert gaps(publisher) == []
    sink, publisher = sink_of()
    sink.resume_after({BTC: quote(100).ts, ETH: None})
    sink.quote(quote(700))
    sink.quote(quote(800, symbol=ETH))
    assert gaps(publisher) == [(BTC, "00.100", "start"), (BTC, "00.700", "start: over"), (ETH, "00.800", "start: over")]


def test_what_the_exchange_lacks_is_missed_no_longer() -> None:
    sink, _ = sink_of(5, 9)
    sink.give_up(BTC, 6, 7)
    assert [(hole.first, hole.last) for hole in sink.holes(BTC, float("inf"))] == [(8, 8)]


def test_a_quote_from_the_future_is_set_aside_and_out_of_sight() -> None:
    sink, publisher = sink_of()
    sink.quote(quote(100))
    sink.quote(replace(quote(200), ts=START + timedelta(days=1)))
    sink.quote(quote(300))
    assert [reason for _, reason, _ in publisher.dead] == ["future"]
    assert gaps(publisher) == [(BTC, "00.100", "future"), (BTC, "00.300", "future: over")]


def test_newer_trades_below_the_top_are_counted_and_repeats_are_not() -> None:
    sink, _ = sink_of(1000)
    before = below_top()
    assert not sink.trade(trade(1000))
    assert below_top() == before
    restarted = replace(trade(3), ts=trade(1000).ts + timedelta(seconds=1))
    sink.trade(restarted)
    assert below_top() == before + 1


def below_top() -> float:
    found = REGISTRY.get_sample_value("trade_ids_below_top_total", {"symbol": BTC})
    assert found is not None
    return found


def test_ids_that_begin_anew_below_the_top_stop_the_producer_with_the_cause() -> None:
    sink, publisher = sink_of(*range(1000, 1010))
    newer = [trade(i, ms=5000 + i) for i in range(1, MAX_RESTARTED + 1)]
    for one in newer[:-1]:
        assert not sink.trade(one)
    with pytest.raises(FatalError, match=r"BTC/USD: 20 trades in a row are newer than trade 1009.*VAR_DIR"):
        sink.trade(newer[-1])
    assert publisher.events == []


def test_trades_that_come_twice_or_overtake_each_other_are_no_new_numbering() -> None:
    sink, _ = sink_of(*range(1000, 1010))
    for number in range(3 * MAX_RESTARTED):
        # A repeat with a newer time, one with its own, and then the next trade.
        assert not sink.trade(trade(1000 + number, ms=5000 + number))
        assert not sink.trade(trade(1001 + number))
        assert sink.trade(trade(1010 + number, ms=2000 + number))
    for _ in range(3 * MAX_RESTARTED):
        assert not sink.trade(trade(1001, ms=9000))
