"""One client's session: greets it and answers its requests in Kraken's order of acks, snapshots and data."""

import asyncio
import time
from collections import deque

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import ConnectionClosed

from ingestion.simulator import protocol
from ingestion.simulator.connection import ClientConnection
from ingestion.simulator.exchange import Exchange
from ingestion.simulator.metrics import CLIENTS, FRAMES
from ingestion.simulator.protocol import ClientRequest, RefusedError

# Between an ack and its snapshot, during which other symbols' data flow.
_SNAPSHOT_DELAY_S = 0.02
_MESSAGES_PER_S = 100


class Session:
    """Reads a client's messages one after the other and answers them on its connection."""

    def __init__(self, exchange: Exchange, socket: ServerConnection, connection_id: int) -> None:
        self._exchange = exchange
        self._connection = ClientConnection(socket, connection_id, exchange.faults, exchange.clock())
        self._heard: deque[float] = deque(maxlen=_MESSAGES_PER_S)

    async def run(self) -> None:
        """Serves the client until either side closes the connection."""
        connections = self._exchange.connections
        connections.add(self._connection)
        CLIENTS.inc()
        try:
            self._reply(protocol.status(self._exchange.system, self._connection.id), "status")
            async for message in self._connection.socket:
                await self._answer(message)
        except ConnectionClosed:
            pass  # by a reset: nothing to add
        finally:
            connections.discard(self._connection)
            CLIENTS.dec()

    def _reply(self, text: str, channel: str = "reply") -> None:
        FRAMES.labels(channel).inc(self._connection.reply(text))

    async def _answer(self, message: str | bytes) -> None:
        time_in, now = self._exchange.now_us(), time.monotonic()
        self._connection.heard_at = self._exchange.clock()
        if len(self._heard) == _MESSAGES_PER_S and now - self._heard[0] < 1.0:
            self._reply(protocol.EXCEEDED_RATE)
            return
        self._heard.append(now)
        try:
            request = protocol.parse_request(message)
        except RefusedError as error:
            self._connection.greeted |= error.method == "subscribe"
            self._reply(protocol.refusal(error.error, error.method, error.req_id, time_in, self._exchange.now_us()))
            return
        if request.method == "ping":
            self._reply(protocol.pong(request.req_id, time_in, self._exchange.now_us()))
            return
        for symbol in request.symbols:
            if request.method == "subscribe":
                await self._subscribe(request, symbol, time_in)
            else:
                self._unsubscribe(request, symbol, time_in)

    async def _subscribe(self, request: ClientRequest, symbol: str, time_in: int) -> None:
        connection, key = self._connection, (request.channel, symbol)
        connection.greeted = True
        error = protocol.symbol_error(symbol, self._exchange.ledger.pairs)
        if error is None and key in connection.subscriptions:
            error = "Already subscribed"
        fault = self._exchange.faults.roll("refuse_subscription", *key) if error is None else None
        if fault is not None:
            error = f"{fault.error} {symbol}"
        if error is not None:
            self._refuse(error, request, symbol, time_in)
            return
        connection.silenced.discard(key)
        if self._exchange.faults.roll("silent", *key):
            connection.silenced.add(key)
        self._reply(protocol.ack(request, symbol, time_in, self._exchange.now_us()))
        await asyncio.sleep(_SNAPSHOT_DELAY_S)
        # Nothing may happen between these two: updates continue where the snapshot ends.
        frame = self._exchange.snapshot(request.channel, symbol, request.trigger)
        connection.subscriptions[key] = request.trigger
        if request.snapshot:
            FRAMES.labels("data").inc(connection.push([frame]))

    def _unsubscribe(self, request: ClientRequest, symbol: str, time_in: int) -> None:
        if self._connection.subscriptions.pop((request.channel, symbol), None) is None:
            self._refuse("Subscription Not Found", request, symbol, time_in)
        else:
            self._reply(protocol.ack(request, symbol, time_in, self._exchange.now_us()))

    def _refuse(self, error: str, request: ClientRequest, symbol: str, time_in: int) -> None:
        time_out = self._exchange.now_us()
        self._reply(protocol.refusal(error, request.method, request.req_id, time_in, time_out, symbol))
