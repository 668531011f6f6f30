"""Ends a command within two seconds of Ctrl-C or SIGTERM, whatever it is doing."""

import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

SIGNALS = (signal.SIGINT, signal.SIGTERM)
GRACE_S = 1.0


class InterruptedCommand(BaseException):
    """Raised in the main thread by one of `SIGNALS`; not an `Exception`, so that no handler swallows it."""

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.status = 128 + number


@contextmanager
def interruptible(stop: threading.Event, grace_s: float = GRACE_S) -> Iterator[None]:
    """While the block runs, a signal sets ``stop`` and raises `InterruptedCommand` in the main thread.

    Compiled code (polars, XGBoost, the Kafka client) keeps the main thread from raising, and clean-up may hang on a
    server. A watchdog thread, woken by the interpreter's C handler, ends the process after ``grace_s``, or on a second
    signal. That is safe: every command survives kill -9 and can be run again.
    """

    def on_signal(number: int, _frame: FrameType | None) -> NoReturn:
        stop.set()
        raise InterruptedCommand(number)

    reading, writing = socket.socketpair()
    writing.setblocking(False)
    before = [signal.signal(number, on_signal) for number in SIGNALS]
    woken = signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
    threading.Thread(target=_watch, args=(reading, writing, grace_s), name="interruption", daemon=True).start()
    try:
        yield
    finally:
        # After a signal the watchdog stays, for whatever is left to clean up.
        if not stop.is_set():
            signal.set_wakeup_fd(woken)
            for number, handler in zip(SIGNALS, before, strict=True):
                signal.signal(number, handler)
            writing.close()


def leave(status: int) -> NoReturn:
    """Ends the process without joining threads or closing clients, which may take seconds: no watchdog runs then."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _watch(reading: socket.socket, _writing: socket.socket, grace_s: float) -> None:
    # It holds the other end, too: once collected, it would read as closed while clean-up still runs.
    with reading:
        while (received := reading.recv(1)) and received[0] not in SIGNALS:
            pass
        if not received:
            return
        reading.settimeout(grace_s)
        try:
            again = reading.recv(1)
        except TimeoutError:
            again = b""
    how = "ended on a second signal" if again else f"ended after {grace_s:g} s without waiting for clean-up"
    os.write(2, f"{how}; run the same command again to go on\n".encode())
    os._exit(128 + received[0])
