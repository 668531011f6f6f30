"""Faults: the script is checked, happens when it says, with the odds it says, and breaks frames loudly."""

import json
import math
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from ingestion.kraken.ws_messages import QuoteFrame, TradeFrame, parse_frame
from ingestion.simulator import wire
from ingestion.simulator.faults import FRAME_KINDS, KINDS, Fault, Faults, Script
from ingestion.simulator.mangle import Mangler
from ingestion.simulator.market import Market
from ingestion.simulator.wire import Frame
from lakehouse.errors import FatalError, PoisonError

NOW = datetime(2026, 11, 20, 13, 0, tzinfo=UTC)
MARKET = Market(42, 20, datetime(2026, 1, 1, tzinfo=UTC))
PAIR = MARKET.pairs["BTC/USD"]
TRADES = MARKET.trades("BTC/USD", NOW, NOW + timedelta(minutes=5))
FRAMES = [frame for _, frame in wire.trade_frames(PAIR, TRADES)]


def running(*faults: Fault, seed: int = 1) -> tuple[Faults, Counter[str]]:
    """The faults, at second 0, and what has been injected."""
    counts: Counter[str] = Counter()

    def count(kind: str) -> None:
        counts[kind] += 1

    return Faults(Script(seed, faults), lambda: 0.0, count), counts


def through(*faults: Fault, seed: int = 1) -> tuple[list[str], Counter[str]]:
    """What becomes of all frames."""
    run, counts = running(*faults, seed=seed)
    mangler = Mangler(run)
    return [text for frame in FRAMES for text in mangler.through(frame)], counts


def trade_ids(texts: list[str]) -> list[int]:
    """The ids in what still parses."""
    ids = []
    for text in texts:
        try:
            frame = parse_frame(text, NOW)
        except PoisonError:
            continue
        ids += [trade.trade_id for trade in frame.trades] if isinstance(frame, TradeFrame) else []
    return ids


def test_without_faults_frames_pass_as_they_are() -> None:
    texts, counts = through()
    assert texts == [frame.text() for frame in FRAMES] and not counts


def test_drop_loses_the_share_it_says() -> None:
    texts, counts = through(Fault("drop", p=0.2))
    assert 0.1 < 1 - len(texts) / len(FRAMES) < 0.3
    assert counts["drop"] == len(FRAMES) - len(texts)


def test_double_sends_twice() -> None:
    texts, counts = through(Fault("double", p=0.3))
    assert len(texts) == len(FRAMES) + counts["double"] > len(FRAMES)
    assert sorted(set(trade_ids(texts))) == TRADES.trade_id.tolist()


def test_reorder_and_batch_lose_nothing_but_the_order() -> None:
    texts, counts = through(Fault("reorder", p=0.2))
    ids = trade_ids(texts)
    assert ids != sorted(ids) and counts["reorder"]
    missing = set(TRADES.trade_id.tolist()) - set(ids)  # only what still waits at the end
    assert not missing or min(missing) > TRADES.trade_id[-20]
    texts, counts = through(Fault("batch", p=0.5))
    assert trade_ids(texts) == TRADES.trade_id[: len(trade_ids(texts))].tolist()
    assert len(trade_ids(texts)) > len(TRADES) - 20 and len(texts) < 0.7 * len(FRAMES)


def test_reorder_and_batch_with_certainty_still_deliver() -> None:
    for kind in ("reorder", "batch"):
        ids = trade_ids(through(Fault(kind, p=1.0))[0])
        assert len(ids) > len(TRADES) - 20 and len(ids) == len(set(ids))


def test_corrupt_frames_never_parse_to_something_else() -> None:
    quotes = MARKET.quotes("BTC/USD", NOW, NOW + timedelta(minutes=5))
    frames = FRAMES + [frame for _, frame in wire.bbo_frames(PAIR, quotes)]
    run, counts = running(Fault("corrupt"))
    mangler = Mangler(run)
    for frame in frames:
        (text,) = mangler.through(frame)
        with pytest.raises(PoisonError):
            parsed = parse_frame(text, NOW)
            assert not isinstance(parsed, TradeFrame | QuoteFrame), text
            raise PoisonError("unparsable", "another channel")
    assert counts["corrupt"] == len(frames)


def test_wrong_frames_come_on_top() -> None:
    texts, counts = through(Fault("wrong", p=0.5))
    assert len(texts) == len(FRAMES) + counts["wrong"] and trade_ids(texts) == TRADES.trade_id.tolist()
    for text in set(texts) - {frame.text() for frame in FRAMES}:
        with pytest.raises(PoisonError):
            parse_frame(text, NOW)


def test_huge_frames_are_huge_and_sound() -> None:
    texts, _ = through(Fault("huge", p=0.01, bytes=1_000_000))
    assert max(map(len, texts)) > 1_000_000 and trade_ids(texts) == TRADES.trade_id.tolist()


def test_future_moves_the_time_and_nothing_else() -> None:
    run, _ = running(Fault("future", seconds=3600))
    (text,) = Mangler(run).through(FRAMES[0])
    before, after = parse_frame(FRAMES[0].text(), NOW), parse_frame(text, NOW)
    assert isinstance(before, TradeFrame) and isinstance(after, TradeFrame)
    assert [t.ts + timedelta(hours=1) for t in before.trades] == [t.ts for t in after.trades]
    assert [t.trade_id for t in before.trades] == [t.trade_id for t in after.trades]


def test_the_same_seed_makes_the_same_faults() -> None:
    faults = [Fault(kind, p=0.05) for kind in FRAME_KINDS if kind != "huge"]
    assert through(*faults) == through(*faults)
    assert through(*faults) != through(*faults, seed=2)


def test_channel_and_symbol_narrow_a_fault() -> None:
    assert len(through(Fault("drop", channel="ticker"))[0]) == len(FRAMES)
    assert len(through(Fault("drop", symbol="ETH/USD"))[0]) == len(FRAMES)
    assert through(Fault("drop", channel="trade", symbol="BTC/USD"))[0] == []


def test_holes_are_the_same_trades_for_everyone() -> None:
    run, counts = running(Fault("hole", p=0.1))
    keep = run.kept("BTC/USD", TRADES.trade_id)
    assert 0.05 < 1 - keep.mean() < 0.15 and counts["hole"] == (~keep).sum()
    assert np.array_equal(run.kept("BTC/USD", TRADES.trade_id[100:200]), keep[100:200])
    assert not np.array_equal(run.kept("ETH/USD", TRADES.trade_id), keep)


def test_windows() -> None:
    once = Fault("drop", start=10, stop=20)
    assert [t for t in range(40) if once.active(t)] == list(range(10, 20))
    again = Fault("drop", start=10, stop=12, every=10)
    assert [t for t in range(40) if again.active(t)] == [10, 11, 20, 21, 30, 31]
    assert [t for t in range(40) if again.begins(t - 1, t)] == [10, 20, 30]
    assert [t for t in range(40) if once.begins(t - 1, t)] == [10]
    assert Fault("close").begins(-1.0, 0.0) and not Fault("close").begins(0.0, 1000.0)
    assert Fault("drop").active(1e9)


def test_a_script_is_read(tmp_path: Path) -> None:
    path = tmp_path / "faults.json"
    path.write_text(
        '{"seed": 7, "faults": [{"kind": "drop", "p": 0.01, "channel": "trade", "from": 10, "until": 60},'
        '{"kind": "close", "at": 30, "every": 60, "code": 1013, "reason": "Market data unavailable"}]}'
    )
    script = Script.load(path)
    assert script.seed == 7
    assert script.faults[0] == Fault("drop", 0.01, "trade", None, 10, 60)
    assert (script.faults[1].start, script.faults[1].stop, script.faults[1].code) == (30, math.inf, 1013)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "faults.json"),
        ("[]", "want"),
        ('{"faults": [1]}', "fault 1: want an object"),
        ('{"faults": [{"kind": "drop"}, {"kind": "explode"}]}', "fault 2: unknown kind 'explode'"),
        ('{"faults": [{"kind": "drop", "odds": 1}]}', "unknown field 'odds'"),
        ('{"faults": [{"kind": "drop", "p": 2}]}', "0 ≤ p ≤ 1"),
        ('{"faults": [{"kind": "drop", "p": "0.1"}]}', "p must be a number"),
        ('{"faults": [{"kind": "drop", "channel": 1}]}', "channel must be a text"),
        ('{"faults": [{"kind": "drop", "from": 9, "until": 1}]}', "from ≤ until"),
        ('{"faults": [{"kind": "close", "every": 0}]}', "every > 0"),
        ('{"seed": "x", "faults": []}', "seed"),
        ('{"faults": [{"kind": "close", "code": 999}]}', "code"),
        ('{"faults": [{"kind": "refuse_handshake", "status": 7}]}', "status"),
    ],
)
def test_a_wrong_script_says_what_is_wrong_and_where(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "faults.json").write_text(text)
    with pytest.raises(FatalError, match=message):
        Script.load(tmp_path / "faults.json")


def test_every_kind_can_be_scripted(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text(json.dumps({"faults": [{"kind": kind} for kind in KINDS]}))
    assert [fault.kind for fault in Script.load(tmp_path / "faults.json").faults] == list(KINDS)


def test_a_snapshot_frame_can_be_batched_with_an_update() -> None:
    run, _ = running(Fault("batch", p=0.5))
    mangler = Mangler(run)
    snapshot = Frame("trade", "BTC/USD", "", FRAMES[0].items, "snapshot")
    texts = [text for frame in (snapshot, *FRAMES[1:30]) for text in mangler.through(frame)]
    assert trade_ids(texts) == TRADES.trade_id[: len(trade_ids(texts))].tolist()
