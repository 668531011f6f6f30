"""Subscriptions: asked once, acknowledged each, watched until they deliver, asked anew when they do not."""

from hypothesis import given
from hypothesis import strategies as st

from ingestion.kraken.subscriptions import Limits, Phase, SubscriptionRequest, Subscriptions

LIMITS = Limits(ack=5, snapshot=10, ticker_silence=120, refused=60, longest=3600, tries=3)
BTC, ETH = "BTC/USD", "ETH/USD"


def opened(*symbols: str) -> Subscriptions:
    made = Subscriptions(symbols, LIMITS)
    made.opened()
    return made


def live(now: float = 0.0) -> Subscriptions:
    made = opened(BTC)
    made.due(now)
    for stream in ("trade", "ticker"):
        made.acked("subscribe", stream, BTC, now)
        made.delivered(BTC, stream, True, now)
    return made


def test_asks_one_request_per_stream_and_not_again_within_the_deadline() -> None:
    subscriptions = opened(BTC, ETH)
    assert subscriptions.due(0.0) == [
        SubscriptionRequest("subscribe", "trade", (BTC, ETH), 1),
        SubscriptionRequest("subscribe", "ticker", (BTC, ETH), 2),
    ]
    assert subscriptions.due(4.9) == []


def test_a_symbol_without_an_ack_is_asked_for_again_alone() -> None:
    subscriptions = opened(BTC, ETH)
    subscriptions.due(0.0)
    subscriptions.acked("subscribe", "trade", ETH, 1.0)
    for symbol in (BTC, ETH):
        subscriptions.acked("subscribe", "ticker", symbol, 1.0)
    assert subscriptions.due(5.0) == [SubscriptionRequest("subscribe", "trade", (BTC,), 3)]


def test_a_connection_that_never_answers_is_hopeless() -> None:
    subscriptions = opened(BTC)
    for now in (0.0, 5.0, 10.0):
        subscriptions.due(now)
        assert subscriptions.hopeless() is None
    subscriptions.due(15.0)
    assert subscriptions.hopeless() == (BTC, "trade")


def test_a_refused_symbol_is_asked_again_ever_more_slowly_while_others_live() -> None:
    subscriptions = opened(BTC, ETH)
    subscriptions.due(0.0)
    for stream in ("trade", "ticker"):
        subscriptions.acked("subscribe", stream, ETH, 0.0)
        subscriptions.delivered(ETH, stream, True, 0.0)
    assert subscriptions.refused(1, BTC, "Currency pair not supported", 0.0) == [(BTC, "trade")]
    assert subscriptions.phases()[BTC, "trade"] is Phase.REFUSED
    assert subscriptions.phases()[ETH, "trade"] is Phase.LIVE
    subscriptions.acked("subscribe", "ticker", BTC, 0.0)
    subscriptions.delivered(BTC, "ticker", True, 0.0)
    assert subscriptions.due(59.0) == []
    (again,) = subscriptions.due(60.0)
    assert (again.stream, again.symbols) == ("trade", (BTC,))
    subscriptions.refused(again.req_id, BTC, "Currency pair not supported", 60.0)
    for now in (100.0, 119.0):
        subscriptions.delivered(BTC, "ticker", False, now)
        subscriptions.delivered(ETH, "ticker", False, now)
        assert subscriptions.due(now) == []
    assert subscriptions.hopeless() is None
    subscriptions.delivered(BTC, "ticker", False, 180.0)
    subscriptions.delivered(ETH, "ticker", False, 180.0)
    assert [r.symbols for r in subscriptions.due(180.0)] == [(BTC,)]


def test_acked_but_silent_is_left_and_asked_anew() -> None:
    subscriptions = opened(BTC)
    subscriptions.due(0.0)
    subscriptions.acked("subscribe", "trade", BTC, 0.0)
    subscriptions.acked("subscribe", "ticker", BTC, 0.0)
    subscriptions.delivered(BTC, "ticker", True, 0.1)
    (leave,) = subscriptions.due(10.0)
    assert (leave.method, leave.stream) == ("unsubscribe", "trade")
    subscriptions.acked("unsubscribe", "trade", BTC, 10.1)
    (ask,) = subscriptions.due(10.2)
    assert (ask.method, ask.stream) == ("subscribe", "trade")


def test_a_stream_that_stays_silent_ends_the_connection_once_and_then_only_itself() -> None:
    subscriptions = opened(BTC)
    now, hopeless = 0.0, []
    for _ in range(200):
        for request in subscriptions.due(now):
            for symbol in request.symbols:
                subscriptions.acked(request.method, request.stream, symbol, now)
                if request.stream == "ticker" and request.method == "subscribe":
                    subscriptions.delivered(symbol, "ticker", True, now)
        if (key := subscriptions.hopeless()) is not None:
            hopeless.append((now, key))
            subscriptions.opened()
        now += 1.0
    assert [key for _, key in hopeless] == [(BTC, "trade")]


def test_already_subscribed_means_that_the_ack_was_lost() -> None:
    subscriptions = opened(BTC)
    subscriptions.due(0.0)
    assert subscriptions.refused(1, BTC, "Already subscribed", 1.0) == []
    assert subscriptions.phases()[BTC, "trade"] is Phase.ACKED


def test_quiet_trades_are_normal_and_a_quiet_ticker_is_asked_anew_ever_more_slowly() -> None:
    subscriptions = live()
    assert subscriptions.due(119.0) == []
    (leave,) = subscriptions.due(120.0)
    assert (leave.method, leave.stream) == ("unsubscribe", "ticker")
    subscriptions.acked("unsubscribe", "ticker", BTC, 120.0)
    subscriptions.due(120.0)
    subscriptions.acked("subscribe", "ticker", BTC, 120.0)
    subscriptions.delivered(BTC, "ticker", True, 120.0)
    assert subscriptions.due(120.0 + 239.0) == []
    assert subscriptions.due(120.0 + 240.0) != []


def test_maintenance_is_known_quiet() -> None:
    subscriptions = live()
    subscriptions.rest(1000.0)
    assert subscriptions.due(1100.0) == []


def test_an_empty_snapshot_counts_as_delivery() -> None:
    subscriptions = opened(BTC)
    subscriptions.due(0.0)
    subscriptions.acked("subscribe", "trade", BTC, 0.0)
    subscriptions.empty_snapshot("trade", 0.1)
    assert subscriptions.phases()[BTC, "trade"] is Phase.LIVE


def test_a_doubted_stream_is_left_at_once() -> None:
    subscriptions = live()
    subscriptions.resubscribe(BTC, "trade")
    (leave,) = subscriptions.due(1.0)
    assert (leave.method, leave.stream) == ("unsubscribe", "trade")


events = st.sampled_from(("ack", "refuse", "data", "snapshot", "leave", "nothing", "open", "strange"))


@given(st.lists(st.tuples(events, st.sampled_from((BTC, ETH)), st.floats(0, 200)), max_size=60))
def test_whatever_comes_requests_stay_rare(script: list[tuple[str, str, float]]) -> None:
    subscriptions = opened(BTC, ETH)
    now, sent, connections = 0.0, 0, 1
    for event, symbol, pause in script:
        now += pause
        sent += len(subscriptions.due(now))
        assert subscriptions.due(now) == []
        match event:
            case "ack":
                subscriptions.acked("subscribe", "trade", symbol, now)
            case "leave":
                subscriptions.acked("unsubscribe", "ticker", symbol, now)
            case "refuse":
                subscriptions.refused(sent, symbol, "no", now)
            case "strange":
                subscriptions.refused(None, None, "no", now)
                subscriptions.acked("subscribe", "book", None, now)
            case "data" | "snapshot":
                subscriptions.delivered(symbol, "ticker", event == "snapshot", now)
            case "open":
                subscriptions.opened()
                connections += 1
    assert sent <= 4 * (connections + len(script))
