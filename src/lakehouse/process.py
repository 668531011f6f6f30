"""The life cycle of every process: logs in UTC, metrics on a port, a clean stop on a signal."""

import logging
import signal
import sys
import threading
import time
from collections.abc import Callable
from types import FrameType
from typing import TypeVar

from prometheus_client import start_http_server

from lakehouse.errors import LakeError, RetryableError
from lakehouse.settings import Settings, load_settings

log = logging.getLogger(__name__)
T = TypeVar("T")


def set_up_logging(level: str = "INFO") -> None:
    """One line per record to stderr, with UTC time, level and logger."""
    formatter = logging.Formatter("%(asctime)s.%(msecs)03dZ %(levelname)s %(name)s: %(message)s", "%Y-%m-%dT%H:%M:%S")
    formatter.converter = time.gmtime
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    logging.basicConfig(level=level, handlers=[handler], force=True)
    logging.getLogger("httpx").setLevel(logging.WARNING)


def stop_event() -> threading.Event:
    """An event that SIGTERM and SIGINT set, so that loops stop between two steps."""
    stop = threading.Event()

    def on_signal(number: int, _frame: FrameType | None) -> None:
        log.info("stopping on %s", signal.Signals(number).name)
        stop.set()

    signal.signal(signal.SIGTERM, on_signal)
    signal.signal(signal.SIGINT, on_signal)
    return stop


def run(
    main: Callable[[Settings, threading.Event], None], metrics_port: Callable[[Settings], int] | None = None
) -> None:
    """Runs a process: settings, logs, metrics, then ``main(settings, stop)``.

    A `LakeError` that reaches this ends the process with status 1 and one clear line; the supervisor restarts it.
    """
    try:
        settings = load_settings()
        set_up_logging(settings.log_level)
        if metrics_port is not None:
            start_http_server(metrics_port(settings), addr=settings.bind_host)
        main(settings, stop_event())
    except LakeError as error:
        logging.getLogger("lakehouse").error("%s: %s", type(error).__name__, error)
        sys.exit(1)


def retrying(step: Callable[[], T], stop: threading.Event, what: str, longest_s: float = 10.0) -> T:
    """Calls ``step`` until it succeeds, with growing pauses; gives up only when ``stop`` is set.

    Raises:
        RetryableError: stopped before it succeeded. Other errors pass through.
    """
    pause = 0.1
    while True:
        try:
            return step()
        except RetryableError as error:
            log.warning("%s: %s; again in %.1f s", what, error, pause)
            if stop.wait(pause):
                raise
            pause = min(pause * 2, longest_s)
