"""The simulator's server: WebSocket at /v2 and REST below /0/public on one port, with faults that affect both."""

import asyncio
import http
import logging
import threading
import time
from collections.abc import Callable

from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from ingestion.simulator.blocks import Ledger
from ingestion.simulator.exchange import Exchange
from ingestion.simulator.faults import Script
from ingestion.simulator.metrics import REQUESTS
from ingestion.simulator.noise import key_of
from ingestion.simulator.rest import PREFIX, TOO_MANY, RestApi, refused
from ingestion.simulator.session import Session

log = logging.getLogger(__name__)
REST_BURST = 30.0


def wall_clock_us() -> int:
    """µs since 1970."""
    return time.time_ns() // 1000


class Simulator:
    """A local Kraken.

    Args:
        ledger: what happens on its market.
        script: what goes wrong.
        rest_burst: how many REST calls on a pair may come at once before they are throttled.
        now_us: the clock, µs since 1970.
    """

    def __init__(
        self,
        ledger: Ledger,
        script: Script | None = None,
        rest_burst: float = REST_BURST,
        now_us: Callable[[], int] = wall_clock_us,
    ) -> None:
        self._exchange = Exchange(ledger, script or Script(), now_us)
        self._rest = RestApi(ledger, now_us, lambda: self._exchange.system, rest_burst)
        self._id_key = now_us()
        self._opened = 0

    async def run(self, host: str, port: int, stop: threading.Event, ready: Callable[[int], None]) -> None:
        """Serves until ``stop`` is set; ``ready`` is called with the port (which 0 lets the system choose)."""
        # No deflate and no protocol pings: Kraken is not known to use them.
        server = await serve(
            self._session,
            host,
            port,
            process_request=self._before_handshake,
            compression=None,
            ping_interval=None,
            close_timeout=1,
            server_header=None,
            logger=_quiet_logger(),
        )
        ready(next(iter(server.sockets)).getsockname()[1])
        try:
            await self._exchange.run(stop)
        finally:
            server.close(code=1001, reason="CloudFlare WebSocket proxy restarting")
            await server.wait_closed()

    async def _session(self, socket: ServerConnection) -> None:
        self._opened += 1
        # The top bit set: more than a double can hold, as Kraken's are.
        connection_id = key_of(self._id_key, self._opened) | 1 << 63
        await Session(self._exchange, socket, connection_id).run()

    def _before_handshake(self, socket: ServerConnection, request: Request) -> Response | None:
        """REST and refusals; None lets the WebSocket handshake go on."""
        faults = self._exchange.faults
        if faults.active("outage"):
            socket.transport.abort()
            return _response(503, b"", "text/plain")
        if request.path.startswith(PREFIX):
            return self._answer(request.path)
        if request.path.partition("?")[0] != "/v2":
            return _response(404, b"WebSocket: /v2, REST: /0/public\n", "text/plain")
        refusal = faults.roll("refuse_handshake")
        return _response(refusal.status, b"<html>not now</html>", "text/html") if refusal else None

    def _answer(self, path: str) -> Response:
        if self._exchange.faults.roll("throttle"):
            body, outcome = refused(TOO_MANY), TOO_MANY
        else:
            body, outcome = self._rest.answer(path)
        REQUESTS.labels(outcome).inc()
        return _response(200, body, "application/json")


def _response(status: int, body: bytes, content_type: str) -> Response:
    headers = Headers({"Content-Type": content_type, "Content-Length": str(len(body)), "Connection": "close"})
    return Response(status, http.HTTPStatus(status).phrase, headers, body)


def _quiet_logger() -> logging.Logger:
    """A logger for errors of the server that ignores clients leaving during the handshake."""
    logger = logging.getLogger(f"{__name__}.sockets")
    logger.setLevel(logging.WARNING)
    logger.addFilter(lambda record: record.getMessage() != "opening handshake failed")
    return logger


def serve_until(stop: threading.Event, simulator: Simulator, host: str, port: int) -> None:
    """Runs the simulator in this thread until ``stop`` is set."""
    asyncio.run(simulator.run(host, port, stop, lambda bound: log.info("serving on %s:%d", host, bound)))
