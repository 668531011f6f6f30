"""The simulated Kraken over real sockets: the protocol frame for frame, REST beside it, and every fault on demand."""

import asyncio
import json
import os
import queue
import signal
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import httpx
import pytest
import websocket

from ingestion.kraken import ws_messages
from ingestion.kraken.rest_messages import ThrottledError, parse_result, parse_trades_page
from ingestion.kraken.ws_messages import (
    Ack,
    BareError,
    Heartbeat,
    Other,
    ParsedFrame,
    Pong,
    QuoteFrame,
    Rejection,
    Status,
    TradeFrame,
)
from ingestion.simulator.faults import Fault, Script
from ingestion.simulator.market import Market, micros
from ingestion.simulator.server import Simulator, wall_clock_us
from lakehouse.errors import PoisonError
from lakehouse.records import Stream, Trade
from stack.supervision.process import TRADELAKE
from tests.support.recordings import SAMPLE

GENESIS = datetime(2026, 1, 1, tzinfo=UTC)
START = datetime(2026, 11, 20, 14, 41, 2, tzinfo=UTC)  # a busy minute; the tests run at this time of the market
MARKET = Market(seed=42, events_per_s=200, genesis=GENESIS)
HTTP = httpx.Client()
SYMBOLS = ["BTC/USD", "ETH/USD", "SOL/USD"]


class Client:
    """A WebSocket client that reads frames with our own parser."""

    def __init__(self, port: int) -> None:
        self.socket = websocket.create_connection(f"ws://127.0.0.1:{port}/v2", timeout=5)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, _: type[BaseException] | None, __: BaseException | None, ___: TracebackType | None) -> None:
        self.socket.close(timeout=1)

    def send(self, message: str | dict[str, object]) -> None:
        self.socket.send(message if isinstance(message, str) else json.dumps(message))

    def receive(self) -> ParsedFrame:
        """The next frame; a broken one is an `Other` called poison."""
        try:
            return ws_messages.parse_frame(self.socket.recv(), datetime.now(UTC), "sim")
        except PoisonError:
            return Other("poison")

    def take(self, seconds: float) -> list[ParsedFrame]:
        """What comes within a span of time."""
        end, frames = time.monotonic() + seconds, []
        while (left := end - time.monotonic()) > 0:
            self.socket.settimeout(left)
            try:
                frames.append(self.receive())
            except websocket.WebSocketTimeoutException:
                break
        self.socket.settimeout(5)
        return frames

    def reply(self) -> ParsedFrame:
        """The next frame that answers a request."""
        while not isinstance(frame := self.receive(), Ack | Rejection | Pong | BareError):
            pass
        return frame

    def subscribe(self, stream: Stream, symbols: list[str]) -> list[ParsedFrame]:
        """Subscribes; the replies, one per symbol."""
        self.send(ws_messages.subscribe(stream, symbols, 1))
        return [self.reply() for _ in symbols]


class Clock:
    """A clock that runs, but at another time, and can jump."""

    def __init__(self, start: datetime) -> None:
        self.behind = timedelta(microseconds=wall_clock_us() - micros(start))

    def __call__(self) -> int:
        return wall_clock_us() - self.behind // timedelta(microseconds=1)

    def jump(self, seconds: float) -> None:
        self.behind -= timedelta(seconds=seconds)


class Exchange:
    """A running simulator."""

    def __init__(self, clock: "Clock") -> None:
        self.port, self.clock = 0, clock

    @property
    def rest(self) -> str:
        return f"http://127.0.0.1:{self.port}/0/public"

    def client(self) -> Client:
        return Client(self.port)

    def get(self, url: str) -> dict[str, Any]:
        return parse_result(HTTP.get(f"{self.rest}/{url}").content)


@contextmanager
def exchange(*faults: Fault, ledger: Market = MARKET, start: datetime = START, burst: float = 30) -> Iterator[Exchange]:
    """A simulator on a free port, in a thread, with a clock that begins at ``start``."""
    stop, ready = threading.Event(), queue.SimpleQueue[int]()
    running = Exchange(Clock(start))
    simulator = Simulator(ledger, Script(3, faults), burst, running.clock)
    thread = threading.Thread(target=lambda: asyncio.run(simulator.run("127.0.0.1", 0, stop, ready.put)))
    thread.start()
    try:
        running.port = ready.get(timeout=10)
        yield running
    finally:
        stop.set()
        thread.join(10)
        assert not thread.is_alive()


def trades_of(frames: list[ParsedFrame], symbol: str = "BTC/USD", snapshots: bool = True) -> list[Trade]:
    """The trades in frames, in the order they came."""
    wanted = [f for f in frames if isinstance(f, TradeFrame) and (snapshots or not f.snapshot)]
    return [trade for frame in wanted for trade in frame.trades if trade.symbol == symbol]


def test_the_order_of_a_session() -> None:
    with exchange() as ex, ex.client() as client:
        first = client.receive()
        assert isinstance(first, Status) and first.system == "online"
        assert first.connection_id is not None and 2**53 < first.connection_id < 2**64
        client.send(ws_messages.subscribe("trade", [*SYMBOLS, "XBT/USD"], 9))
        frames = client.take(1.5)
    replies = [f for f in frames if isinstance(f, Ack | Rejection)]
    assert [(r.symbol, r.req_id) for r in replies] == [(s, 9) for s in [*SYMBOLS, "XBT/USD"]]
    assert isinstance(replies[-1], Rejection) and isinstance(frames[0], Ack)
    for symbol in SYMBOLS:
        of_symbol = [f for f in frames if isinstance(f, TradeFrame) and f.trades and f.trades[0].symbol == symbol]
        assert [f.snapshot for f in of_symbol[:2]] == [True, False] and len(of_symbol[0].trades) == 50
        ids = [t.trade_id for t in trades_of(frames, symbol)]
        assert ids == list(range(ids[0], ids[0] + len(ids)))  # updates go on where the snapshot ends
    # Data of the first symbol flow before the last one is acked.
    assert frames.index(replies[-1]) > min(
        i for i, f in enumerate(frames) if isinstance(f, TradeFrame) and not f.snapshot
    )


def test_what_is_sent_is_the_ledger_and_rest_agrees() -> None:
    with exchange() as ex, ex.client() as client:
        client.subscribe("trade", SYMBOLS)
        client.subscribe("ticker", SYMBOLS)
        frames = client.take(2)
        got = {trade.trade_id: trade for trade in trades_of(frames)}
        first = min(got.values(), key=lambda t: t.trade_id)
        since = micros(first.ts) * 1000
        body = HTTP.get(f"{ex.rest}/Trades?pair=XBTUSD&since={since}").content
    page = parse_trades_page(body, "BTC/USD", datetime.now(UTC))
    assert not page.bad and len(got) > 60
    pairs = [(got[t.trade_id], t) for t in page.trades if t.trade_id in got]
    assert len(pairs) >= len(got) - 5
    for ws, rest in pairs:
        assert (ws.price, ws.qty, ws.side, ws.ord_type) == (rest.price, rest.qty, rest.side, rest.ord_type)
        assert 0 <= micros(rest.ts) - micros(ws.ts) <= 2  # 0.7 to 1.1 µs, as whole ones
    assert any(rest.ts != ws.ts for ws, rest in pairs)
    ledger = MARKET.trades_between("BTC/USD", micros(first.ts), micros(first.ts) + 5_000_000)
    columns = ledger.columns(MARKET.pairs["BTC/USD"])
    known = dict(zip(columns["trade_id"].tolist(), columns["price"].tolist(), strict=True))
    assert all(known[trade.trade_id] == trade.price for trade in got.values())
    quotes = [
        q for f in frames if isinstance(f, QuoteFrame) and not f.snapshot for q in f.quotes if q.symbol == "BTC/USD"
    ]
    rows = MARKET.quotes_between("BTC/USD", micros(quotes[0].ts), micros(quotes[-1].ts) + 1)
    assert [micros(q.ts) for q in quotes] == rows.ts.tolist()
    assert [q.bid for q in quotes] == (rows.bid / 10).tolist()


def test_events_arrive_in_time() -> None:
    with exchange() as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        frames = client.take(2)
    late = sorted((t.received_at - ex.clock.behind - t.ts).total_seconds() for t in trades_of(frames, snapshots=False))
    assert late[0] > 0 and late[len(late) // 4] < 0.2


def test_heartbeats_once_a_second_whatever_the_traffic() -> None:
    with exchange() as ex, ex.client() as busy, ex.client() as refused, ex.client() as silent:
        busy.subscribe("trade", SYMBOLS)
        assert isinstance(refused.subscribe("trade", ["NOPE"])[0], Rejection)
        frames = busy.take(3.2)
        assert 2 <= sum(isinstance(f, Heartbeat) for f in frames) <= 4
        assert 2 <= sum(isinstance(f, Heartbeat) for f in refused.take(0.3)) <= 4
        assert [type(f) for f in silent.take(0.3)] == [Status]


def test_ticker_triggers() -> None:
    with exchange() as ex, ex.client() as bbo, ex.client() as on_trades:
        bbo.subscribe("ticker", ["BTC/USD"])
        on_trades.send({"method": "subscribe", "params": {"channel": "ticker", "symbol": ["BTC/USD"]}})
        on_trades.send(ws_messages.subscribe("trade", ["BTC/USD"], 2))
        frames, quotes = on_trades.take(2), [f for f in bbo.take(0.2) if isinstance(f, QuoteFrame)]
    assert quotes[0].snapshot and not quotes[1].snapshot and quotes[1].quotes[0].last
    told = [f.quotes[0] for f in frames if isinstance(f, QuoteFrame) and not f.snapshot]
    trades = {(t.ts, t.price) for t in trades_of(frames)}
    assert len(told) > 5 and all((q.ts, q.last) in trades for q in told[-5:])


def test_refusals_in_krakens_words_leave_the_rest_alone() -> None:
    def params(**values: object) -> dict[str, object]:
        return {"method": "subscribe", "params": {"channel": "trade", "symbol": ["ETH/USD"], **values}}

    with exchange() as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        requests: list[tuple[str | dict[str, object], str]] = [
            (params(symbol=["XBT/USD"]), "Currency pair not supported XBT/USD"),
            (params(symbol=["btc/usd"]), "Currency pair not supported btc/usd"),
            (params(symbol=["XBTUSD"]), "Currency pair not in ISO 4217-A3 format XBTUSD"),
            (params(symbol=["*"]), "Currency pair not in ISO 4217-A3 format *"),
            (params(symbol=["BTC/USD"]), "Already subscribed"),
            (params(channel="sports"), "Unsupported event"),
            (params(channel="executions"), "Private data and trading are unavailable on this endpoint."),
            (params(depth=10), "Unsupported field: 'depth' for the given msg type: subscribe"),
            (params(symbol="ETH/USD"), "Malformed request"),
            ({"method": "dance"}, "Unsupported event"),
            ({"method": "ping", "params": None}, "Unsupported field: 'params' for the given msg type: ping"),
            (params() | {"method": "unsubscribe"}, "Subscription Not Found"),
            ("{nonsense", "Malformed request"),
        ]
        for message, error in requests:
            client.send(message)
            reply = client.reply()
            assert isinstance(reply, Rejection | BareError) and reply.error.startswith(error), message
        client.send(ws_messages.ping(77))
        assert client.reply() == Pong(77)
        assert len(trades_of(client.take(0.5), snapshots=False)) > 5


def test_unsubscribe_ends_the_data_and_a_new_subscription_brings_a_snapshot() -> None:
    with exchange() as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD", "ETH/USD"])
        client.send(ws_messages.subscribe("trade", ["BTC/USD"], 3, "unsubscribe"))
        assert client.reply() == Ack("unsubscribe", "trade", "BTC/USD", 3)
        frames = client.take(1)
        assert not trades_of(frames, "BTC/USD") and trades_of(frames, "ETH/USD")
        assert isinstance(client.subscribe("trade", ["BTC/USD"])[0], Ack)
        assert any(isinstance(f, TradeFrame) and f.snapshot for f in client.take(0.5))


def test_too_many_messages() -> None:
    with exchange() as ex, ex.client() as client:
        for n in range(150):
            client.send(ws_messages.ping(n))
        replies = [client.reply() for _ in range(150)]
        assert replies.count(BareError("Exceeded msg rate")) > 20


def test_restarts_go_on_and_rest_serves_what_was_missed() -> None:
    with exchange(start=START - timedelta(minutes=5)) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        last = trades_of(client.take(1))[-1]
    ids: list[int] = [last.trade_id]
    with exchange(burst=1000) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        snapshot = trades_of(client.take(0.5))
        since = micros(last.ts) * 1000
        while ids[-1] < snapshot[0].trade_id:
            page = parse_trades_page(
                HTTP.get(f"{ex.rest}/Trades?pair=XBTUSD&since={since}").content, "BTC/USD", datetime.now(UTC)
            )
            ids += [trade.trade_id for trade in page.trades if trade.trade_id > ids[-1]]
            assert page.last is not None
            since = page.last
    assert ids == list(range(ids[0], ids[-1] + 1)) and len(ids) > 5_000


def test_rest_throttles_with_status_200_and_shows_any_error_so() -> None:
    with exchange(burst=5) as ex:
        answers = [HTTP.get(f"{ex.rest}/Trades?pair=XBTUSD&since={n}") for n in range(15)]
        assert all(answer.status_code == 200 for answer in answers)
        errors = [answer.json()["error"] for answer in answers]
        assert errors[:5] == [[]] * 5 and errors[-1] == ["EGeneral:Too many requests"]
        assert HTTP.get(f"{ex.rest}/Trades?pair=NOPE").json() == {"error": ["EQuery:Unknown asset pair"]}
        assert ex.get("SystemStatus")["status"] == "online"
        assert HTTP.get(f"http://127.0.0.1:{ex.port}/elsewhere").status_code == 404


def test_thousands_of_events_a_second() -> None:
    with exchange(ledger=Market(1, 3000, GENESIS)) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        client.subscribe("ticker", ["BTC/USD"])
        frames = client.take(2)
    ids = [t.trade_id for t in trades_of(frames)]
    assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert len(ids) + sum(isinstance(f, QuoteFrame) for f in frames) > 2000


def test_who_neither_asks_nor_listens_is_disconnected() -> None:
    with exchange() as ex, ex.client() as idle:
        assert isinstance(idle.receive(), Status)
        ex.clock.jump(57)
        assert idle.take(1.3) == []
        idle.send(ws_messages.ping(1))
        assert idle.reply() == Pong(1)
        ex.clock.jump(61)
        assert idle.socket.recv_data()[0] == websocket.ABNF.OPCODE_CLOSE


def test_after_a_standstill_clients_must_come_again() -> None:
    with exchange() as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        client.take(0.3)
        ex.clock.jump(600)
        with pytest.raises((ConnectionError, websocket.WebSocketConnectionClosedException)):
            while True:
                assert client.socket.recv()
        with ex.client() as again:
            again.subscribe("trade", ["BTC/USD"])
            ids = [t.trade_id for t in trades_of(again.take(0.5))]
        assert ids == list(range(ids[0], ids[0] + len(ids)))


def test_a_client_that_does_not_read_is_cut_off() -> None:
    with exchange(Fault("huge", bytes=4_000_000)) as ex, ex.client() as lazy, ex.client() as other:
        lazy.send(ws_messages.subscribe("trade", SYMBOLS, 1))
        time.sleep(3)
        other.send(ws_messages.ping(5))
        assert other.reply() == Pong(5)
        with pytest.raises((ConnectionError, websocket.WebSocketException)):
            while True:
                assert lazy.socket.recv()


# -- faults ------------------------------------------------------------------------------------------------------------


def test_holes_are_missing_on_the_websocket_and_there_in_rest() -> None:
    with exchange(Fault("hole", p=0.2)) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        ids = [t.trade_id for t in trades_of(client.take(1.5))]
        page = ex.get("Trades?pair=XBTUSD&count=1000")["XXBTZUSD"]
    missing = set(range(ids[0], ids[-1] + 1)) - set(ids)
    assert 0.05 < len(missing) / len(ids) < 0.5
    assert missing <= {row[6] for row in page}


@pytest.mark.parametrize("kind", ["drop", "double", "reorder", "batch", "corrupt", "wrong", "huge", "future"])
def test_faults_of_frames(kind: str) -> None:
    with exchange(Fault(kind, p=0.3, channel="trade", bytes=100_000)) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        frames = client.take(1.5)
    trades = trades_of(frames, snapshots=False)
    ids = [t.trade_id for t in trades]
    holes = set(range(min(ids), max(ids) + 1)) - set(ids)
    poison = frames.count(Other("poison"))
    match kind:
        case "drop":
            assert holes and not poison
        case "double":
            assert len(ids) > len(set(ids)) and not holes
        case "reorder":
            assert ids != sorted(ids) and len(ids) == len(set(ids))
        case "batch":
            sizes = [len(f.trades) for f in frames if isinstance(f, TradeFrame) and not f.snapshot]
            assert ids == sorted(ids) and not holes and sum(sizes) / len(sizes) > 1.5
        case "corrupt":
            assert holes and poison
        case "wrong":
            assert not holes and poison
        case "huge":
            assert not holes and not poison
        case _:
            ahead = [t for t in trades if t.ts - START > timedelta(hours=23)]
            assert ahead and not holes


def test_a_frozen_socket_is_silent_and_new_ones_are_not() -> None:
    with exchange(Fault("freeze", start=1.0, stop=3.0)) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        frames = client.take(1.5)
        assert trades_of(frames) and client.take(0.8) == []
        with ex.client() as other:
            other.subscribe("trade", ["BTC/USD"])
            assert trades_of(other.take(0.3))
        later = client.take(1.5)
    assert any(isinstance(f, Heartbeat) for f in later)
    before, after = trades_of(frames)[-1], trades_of(later)[0]
    assert after.trade_id > before.trade_id + 1


def test_freezing_one_stream_leaves_the_others() -> None:
    with exchange(Fault("freeze", start=0.5, symbol="BTC/USD", channel="trade")) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD", "ETH/USD"])
        client.take(0.8)
        frames = client.take(1.2)
    assert not trades_of(frames, "BTC/USD") and trades_of(frames, "ETH/USD")
    assert any(isinstance(f, Heartbeat) for f in frames)


def test_an_acked_stream_that_delivers_nothing() -> None:
    with exchange(Fault("silent", channel="ticker")) as ex, ex.client() as client:
        assert isinstance(client.subscribe("ticker", ["BTC/USD"])[0], Ack)
        client.subscribe("trade", ["BTC/USD"])
        frames = client.take(1.5)
    assert trades_of(frames) and not any(isinstance(f, QuoteFrame) for f in frames)


@pytest.mark.parametrize(("code", "reason"), [(1001, "restarting"), (1012, "Service restart"), (1013, "unavailable")])
def test_close_with_any_code(code: int, reason: str) -> None:
    with exchange(Fault("close", start=0.3, code=code, reason=reason)) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        while (opcode_data := client.socket.recv_data())[0] != websocket.ABNF.OPCODE_CLOSE:
            pass
        assert opcode_data[1] == code.to_bytes(2, "big") + reason.encode()
        with ex.client() as again:
            assert isinstance(again.receive(), Status)


def test_a_bare_reset_again_and_again() -> None:
    with exchange(Fault("reset", start=0.5, every=1.0)) as ex:
        for _ in range(2):
            with ex.client() as client:
                client.subscribe("trade", ["BTC/USD"])
                with pytest.raises((ConnectionError, websocket.WebSocketConnectionClosedException)):
                    while True:
                        assert client.socket.recv()


@pytest.mark.parametrize("status", [503, 429])
def test_refused_handshakes(status: int) -> None:
    with exchange(Fault("refuse_handshake", stop=0.5, status=status)) as ex:
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            ex.client()
        assert caught.value.status_code == status
        assert ex.get("Time")
        time.sleep(0.5)
        with ex.client() as client:
            assert isinstance(client.receive(), Status)


def test_refused_subscriptions() -> None:
    fault = Fault("refuse_subscription", stop=0.5, symbol="ETH/USD")
    with exchange(fault) as ex, ex.client() as client:
        replies = client.subscribe("trade", ["BTC/USD", "ETH/USD"])
        assert replies[1] == Rejection("subscribe", "Currency pair not supported ETH/USD", "ETH/USD", 1)
        assert isinstance(replies[0], Ack) and trades_of(client.take(0.6))
        assert isinstance(client.subscribe("trade", ["ETH/USD"])[0], Ack)


def test_rest_throttled_on_demand() -> None:
    with exchange(Fault("throttle", stop=0.5)) as ex:
        with pytest.raises(ThrottledError, match="EGeneral:Too many requests"):
            ex.get("Trades?pair=XBTUSD")
        time.sleep(0.5)
        assert ex.get("Trades?pair=XBTUSD")["last"]


def test_maintenance_and_back() -> None:
    with exchange(Fault("maintenance", start=0.7, stop=1.7)) as ex, ex.client() as client:
        assert isinstance(client.receive(), Status)
        client.subscribe("trade", ["BTC/USD"])
        frames = client.take(1.2)
        assert ex.get("SystemStatus")["status"] == "maintenance"
        with ex.client() as newcomer:
            greeting = newcomer.receive()
            assert isinstance(greeting, Status) and greeting.system == "maintenance"
        frames += client.take(1.5)
    states = [(i, f.system) for i, f in enumerate(frames) if isinstance(f, Status)]
    assert [system for _, system in states] == ["maintenance", "online"]
    (start, _), (end, _) = states
    assert trades_of(frames[:start]) and not trades_of(frames[start:end]) and trades_of(frames[end:])
    assert any(isinstance(f, Heartbeat) for f in frames[start:end])


def test_network_outage() -> None:
    with exchange(Fault("outage", start=0.5, stop=1.5)) as ex, ex.client() as client:
        client.subscribe("trade", ["BTC/USD"])
        with pytest.raises((ConnectionError, websocket.WebSocketConnectionClosedException)):
            while True:
                assert client.socket.recv()
        with pytest.raises((ConnectionError, websocket.WebSocketException)):
            ex.client()
        with pytest.raises(httpx.TransportError):
            ex.get("Time")
        time.sleep(1.2)
        assert ex.get("Time")
        with ex.client() as again:
            assert isinstance(again.receive(), Status)


# -- the process -------------------------------------------------------------------------------------------------------


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
        return port


@contextmanager
def process(tmp_path: Path, *args: str, **settings: str) -> Iterator[tuple[subprocess.Popen[str], int, int]]:
    """`tradelake simulate`, its port and that of its metrics."""
    port, metrics = free_port(), free_port()
    env = os.environ | {"SIMULATOR_PORT": str(port), "SIMULATOR_METRICS_PORT": str(metrics)} | settings
    command = [*TRADELAKE, "simulate", *args]
    running = subprocess.Popen(command, env=env, cwd=tmp_path, stderr=subprocess.PIPE, text=True)
    try:
        yield running, port, metrics
    finally:
        running.kill()
        running.wait()


def wait_for(port: int, seconds: float = 15) -> None:
    """Waits until something listens."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"nothing listens on {port}")


def test_the_process_starts_serves_measures_and_stops(tmp_path: Path) -> None:
    with process(tmp_path) as (running, port, metrics):
        wait_for(port)
        with Client(port) as client:
            client.subscribe("trade", ["BTC/USD"])
            assert len(trades_of(client.take(0.5))) >= 50
            text = HTTP.get(f"http://127.0.0.1:{metrics}/metrics").text
            assert "simulator_clients 1.0" in text and 'simulator_frames_sent_total{channel="data"}' in text
            running.send_signal(signal.SIGTERM)
            while (opcode_data := client.socket.recv_data())[0] != websocket.ABNF.OPCODE_CLOSE:
                pass
            assert opcode_data[1][:2] == (1001).to_bytes(2, "big")
        assert running.wait(10) == 0


def test_the_process_replays_a_recording_with_faults(tmp_path: Path) -> None:
    (tmp_path / "faults.json").write_text('{"faults": [{"kind": "hole", "p": 0.1}]}')
    trades = SAMPLE.trades
    args = ("--trades", str(trades), "--speed", "50", "--faults", "faults.json")
    with process(tmp_path, *args) as (_, port, _):
        wait_for(port)
        with Client(port) as client:
            client.subscribe("trade", ["BTC/USD"])
            ids = [t.trade_id for t in trades_of(client.take(2))]
    assert 1 <= ids[0] < 200 and ids == sorted(ids)
    assert 0 < len(set(range(ids[0], ids[-1])) - set(ids)) < len(ids) / 2


@pytest.mark.parametrize(
    ("args", "settings", "message"),
    [
        (["--faults", "none.json"], {}, "none.json"),
        (["--trades", "none.parquet"], {}, "none.parquet"),
        ([], {"SIMULATOR_GENESIS": "soon"}, "SIMULATOR_GENESIS"),
        ([], {"SIMULATOR_GENESIS": "2999-01-01T00:00:00Z"}, "future"),
    ],
)
def test_a_wrong_start_is_one_clear_line(
    tmp_path: Path, args: list[str], settings: dict[str, str], message: str
) -> None:
    with process(tmp_path, *args, **settings) as (running, _, _):
        _, errors = running.communicate(timeout=20)
    assert running.returncode == 1 and message in errors and "Traceback" not in errors
