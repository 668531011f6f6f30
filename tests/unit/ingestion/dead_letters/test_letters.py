"""Dead letters listed, parsed as they would be today, replayed: accepted once they pass, kept with the reason if not.

Covers `ingestion.dead_letters.listing`, `ingestion.dead_letters.parsing` and `ingestion.dead_letters.replaying`.
"""

from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import orjson
import pytest

from ingestion.dead_letters.listing import Letter, read
from ingestion.dead_letters.parsing import events_in
from ingestion.dead_letters.replaying import replay
from lakehouse.errors import PoisonError
from lakehouse.messages import REPLAY_HEADER, encode
from lakehouse.records import Trade
from lakehouse.settings import DEADLETTER_TOPIC, EVENTS_TOPIC

THEN = datetime(2026, 9, 25, 12, tzinfo=UTC)
BTC = "BTC/USD"
ITEM = {"symbol": BTC, "side": "sell", "price": 1.5, "qty": 2.0, "ord_type": "limit", "trade_id": 7}
FRAME = {"channel": "trade", "type": "update", "data": [ITEM | {"timestamp": "2026-09-25T11:59:59.5Z"}]}


def revived(
    payload: object, after: timedelta = timedelta(hours=1), symbol: str = ""
) -> list[tuple[str, dict[str, object]]]:
    raw = payload if isinstance(payload, bytes) else orjson.dumps(payload)
    return [(key, orjson.loads(value)) for key, value in events_in(raw, symbol, THEN, THEN + after, 5.0, "sim")]


def trade(ahead_s: float) -> Trade:
    at = THEN + timedelta(seconds=ahead_s)
    return Trade(BTC, 7, 1.5, 2.0, "sell", "limit", at, THEN, "ws")


def test_a_frame_that_parses_by_now_gives_its_events() -> None:
    ((key, event),) = revived(FRAME)
    assert (key, event["trade_id"], event["received_at"]) == (BTC, 7, "2026-09-25T12:00:00.000000Z")
    assert event["source"] == "sim"


def test_a_row_of_rest_needs_the_symbol_that_was_noted_beside_it() -> None:
    row = ["64249.9", "0.0125", 1790331321.0045187, "s", "m", "", 91234567]
    ((key, event),) = revived(row, symbol=BTC)
    assert (key, event["trade_id"], event["source"]) == (BTC, 91234567, "rest")
    with pytest.raises(PoisonError):
        revived(row)


def test_an_event_from_the_future_is_stamped_anew_once_its_time_has_come() -> None:
    with pytest.raises(PoisonError, match="future"):
        revived(encode(trade(7200.0)), after=timedelta(hours=1))
    ((_, event),) = revived(encode(trade(7200.0)), after=timedelta(hours=2))
    assert (event["ts"], event["received_at"]) == ("2026-09-25T14:00:00.000000Z", "2026-09-25T14:00:00.000000Z")


def test_an_event_that_is_fine_goes_out_as_it_is() -> None:
    payload = encode(trade(-1.0))
    assert events_in(payload, "", THEN, THEN, 5.0, "sim") == [(BTC, payload)]


@pytest.mark.parametrize(
    "payload",
    [
        b"1381095255,122.0",
        b'{"channel":"trade","da',
        {"type": "trade", "symbol": BTC, "price": 1.0},
        {"type": "trade", "symbol": BTC, "trade_id": "x"},
        {"type": "surprise", "symbol": BTC, "ts": "2026-09-25T12:00:00Z", "received_at": "2026-09-25T12:00:00Z"},
        {"channel": "heartbeat"},
        {"hello": "world"},
        [1, 2, 3],
        7,
    ],
)
def test_what_is_still_no_event_is_kept(payload: object) -> None:
    with pytest.raises(PoisonError):
        revived(payload)


def test_what_is_sent_again_says_so() -> None:
    producer = Mock()
    producer.flush.return_value = 0
    letter = Letter(3, THEN, "future", "", "ws", EVENTS_TOPIC, BTC, encode(trade(-1.0)))
    assert replay(producer, letter, 5.0, THEN, "ws") == 1
    event = producer.produce.call_args_list[0]
    assert event.args == (EVENTS_TOPIC, letter.payload, BTC)
    assert REPLAY_HEADER in event.kwargs["headers"]


def test_a_letter_is_one_line_whatever_is_in_it() -> None:
    letter = Letter(3, THEN, "unparsable", "a\nb\tc", "ws", "market.events", BTC, b"\xff{", False)
    assert letter.line().split("\t")[:5] == ["3", "2026-09-25T12:00:00.000000Z", "waiting", "unparsable", "ws"]
    assert letter.line().count("\t") == 6 and "\n" not in letter.line()


def test_a_receipt_that_outlived_its_letter_is_left_out() -> None:
    def message(offset: int, *headers: tuple[str, bytes]) -> Mock:
        place: dict[str, object] = {"partition": 0, "offset": offset, "timestamp": (1, 1_790_000_000_000)}
        known = place | {"error": None, "headers": list(headers), "value": b"x"}
        return Mock(**{name: Mock(return_value=value) for name, value in known.items()})

    log = Mock()
    log.list_topics.return_value.topics = {DEADLETTER_TOPIC: Mock(error=None, partitions=[0])}
    log.get_watermark_offsets.return_value = (5, 9)
    log.consume.return_value = [
        message(5, ("replayed", b"2")),
        message(6, ("reason", b"future")),
        message(7, ("reason", b"unparsable")),
        message(8, ("replayed", b"6")),
    ]
    assert [(x.number, x.reason, x.replayed) for x in read(log)] == [(6, "future", True), (7, "unparsable", False)]
