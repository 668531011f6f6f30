"""One client's connection: its subscriptions, and the sending of frames through the active faults."""

import asyncio
from collections.abc import Sequence

from websockets.asyncio.server import ServerConnection, broadcast

from ingestion.simulator.faults import Fault, Faults
from ingestion.simulator.mangle import Mangler
from ingestion.simulator.wire import Frame

_MAX_UNSENT = 64 * 2**20  # bytes; a client with more unread data is disconnected


class ClientConnection:
    """Sends frames to one client, subject to faults.

    ``subscriptions`` maps (channel, symbol) to the ticker's trigger (empty for trades).
    """

    def __init__(self, socket: ServerConnection, connection_id: int, faults: Faults, opened: float) -> None:
        self.socket, self.id = socket, connection_id
        self.subscriptions: dict[tuple[str, str], str] = {}
        self.silenced: set[tuple[str, str]] = set()
        self.greeted = False  # heartbeats begin with the first subscription, refused or not
        self.heard_at = opened
        self._faults, self._mangler = faults, Mangler(faults)
        self._frozen: list[tuple[Fault, float]] = []
        self._closing: asyncio.Task[None] | None = None

    def freeze(self, fault: Fault, until: float) -> None:
        """Withholds the frames that the fault matches until ``until`` (seconds since the start)."""
        self._frozen.append((fault, until))

    def _is_frozen(self, channel: str, symbol: str) -> bool:
        now = self._faults.clock()
        return any(now < until and fault.matches(channel, symbol) for fault, until in self._frozen)

    def wants(self, frame: Frame) -> bool:
        """Whether the client has subscribed to the frame's stream."""
        return self.subscriptions.get((frame.channel, frame.symbol)) == frame.trigger

    def reply(self, text: str) -> int:
        """Sends a reply, a heartbeat or a status; returns how many frames went out."""
        return 0 if self._is_frozen("", "") else self._send([text])

    def push(self, frames: Sequence[Frame]) -> int:
        """Sends data; returns how many frames went out."""
        texts: list[str] = []
        for frame in frames:
            key = frame.channel, frame.symbol
            if key not in self.silenced and not self._is_frozen(*key):
                texts += self._mangler.through(frame)
        return self._send(texts)

    def _send(self, texts: Sequence[str]) -> int:
        for text in texts:
            broadcast([self.socket], text)
        if self.socket.transport.get_write_buffer_size() > _MAX_UNSENT:
            self.reset()
        return len(texts)

    def close(self, code: int, reason: str) -> None:
        """Starts the closing handshake without waiting, so that an unresponsive client does not block the others."""
        self._closing = asyncio.create_task(self.socket.close(code, reason))

    def reset(self) -> None:
        """Ends the TCP connection without a close frame."""
        self.socket.transport.abort()
