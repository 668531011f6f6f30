"""A WebSocket connection that names the reason of every disconnect, and the backoff between connections."""

import random
import socket
import ssl
from collections import deque

import websocket

from lakehouse.errors import RetryableError

CONNECT_S = 10.0


class DisconnectedError(RetryableError):
    """The connection ended or could not be established.

    Attributes:
        reason: a short stable label for metrics and gaps, e.g. ``closed_1012``, ``handshake_503``, ``reset``.
        patient: the exchange is restarting or overloaded: wait some seconds before reconnecting.
    """

    def __init__(self, reason: str, detail: str = "", patient: bool = False) -> None:
        super().__init__(f"{reason}: {detail}" if detail else reason)
        self.reason = reason
        self.patient = patient


class WebSocketClient:
    """An open WebSocket; text frames in, text frames out.

    Raises:
        DisconnectedError: the connection could not be established.
    """

    def __init__(self, url: str, timeout_s: float = CONNECT_S) -> None:
        # orjson validates UTF-8 anyway, so the library's own slow check is skipped.
        self._ws = websocket.WebSocket(skip_utf8_validation=True)
        try:
            self._ws.connect(url, timeout=timeout_s)
        except websocket.WebSocketBadStatusException as error:
            raise DisconnectedError(f"handshake_{error.status_code}", patient=error.status_code != 404) from error
        except (websocket.WebSocketException, OSError) as error:
            raise DisconnectedError("unreachable", f"{url}: {error}") from error

    def receive(self, wait_s: float) -> str | bytes | None:
        """The next frame, or None if none arrives within ``wait_s``.

        Raises:
            DisconnectedError: the connection is over.
        """
        try:
            self._ws.settimeout(wait_s)
            opcode, data = self._ws.recv_data()
        except websocket.WebSocketTimeoutException:
            return None
        except websocket.WebSocketConnectionClosedException as error:
            raise DisconnectedError("reset", str(error)) from error
        except (websocket.WebSocketException, ssl.SSLError, OSError) as error:
            kind = "reset" if isinstance(error, OSError) else "protocol"
            raise DisconnectedError(kind, str(error)) from error
        if opcode == websocket.ABNF.OPCODE_CLOSE:
            code = int.from_bytes(data[:2], "big") if len(data) >= 2 else 1005
            text = data[2:].decode(errors="replace")
            raise DisconnectedError(f"closed_{code}", text, patient=code in (1012, 1013))
        frame: str | bytes = data
        return frame

    def send(self, text: str) -> None:
        """Sends one text frame.

        Raises:
            DisconnectedError: the connection is over.
        """
        try:
            self._ws.settimeout(CONNECT_S)
            self._ws.send(text)
        except (websocket.WebSocketException, OSError) as error:
            raise DisconnectedError("reset", str(error)) from error

    def close(self) -> None:
        """Closes the connection without waiting for the peer."""
        try:
            if self._ws.sock is not None:
                self._ws.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass  # already closed
        self._ws.shutdown()


class Backoff:
    """Reconnect backoff: two quick attempts, then doubling to 30 s with jitter, within a budget of attempts.

    Kraken bans an address for 10 minutes after about 150 attempts within 10 minutes. After a restart or a refusal it
    asks for 5 s between attempts.
    """

    QUICK, MAX_S, PATIENT_S, STABLE_S = 2, 30.0, 5.0, 30.0
    BUDGET, WINDOW_S = 60, 600.0

    def __init__(self, seed: int | None = None) -> None:
        self._random = random.Random(seed)  # noqa: S311  jitter, not a secret
        self._failures = 0
        self._attempts: deque[float] = deque()

    def lasted(self, seconds: float) -> None:
        """Records how long a connection lasted; a stable one resets the backoff."""
        if seconds >= self.STABLE_S:
            self._failures = 0

    def next_pause(self, now: float, patient: bool = False) -> float:
        """Seconds to wait before the next attempt, which this call counts.

        Args:
            now: monotonic seconds.
            patient: whether the exchange is restarting or overloaded.
        """
        over = self._failures - self.QUICK
        pause = 0.5 if over <= 0 else min(2.0**over, self.MAX_S)
        if patient:
            pause = max(pause, self.PATIENT_S)
        pause *= 1 + self._random.random() / 4
        self._failures += 1
        while self._attempts and self._attempts[0] <= now - self.WINDOW_S:
            self._attempts.popleft()
        if len(self._attempts) >= self.BUDGET:
            pause = max(pause, self._attempts[0] + self.WINDOW_S - now)
        self._attempts.append(now + pause)
        return pause
