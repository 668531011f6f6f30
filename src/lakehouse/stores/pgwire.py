"""A PostgreSQL wire connection on which every wait has a timeout, so that a hung server blocks nobody."""

import select
import threading
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg2
from psycopg2.extensions import POLL_OK, POLL_READ, connection

from lakehouse.errors import RetryableError

CONNECT_S = 5.0
Answer = tuple[list[str], list[tuple[Any, ...]]]


class PgWire:
    """A lazy connection shared by threads, one query at a time.

    libpq has a timeout for connecting only. The connection is therefore asynchronous, and we wait for it ourselves,
    which signals can interrupt. (psycopg2's wait callback would do the same for the whole process.)

    Args:
        where: the server's name in errors.
        parameters: arguments of `psycopg2.connect`.
    """

    def __init__(self, where: str, **parameters: Any) -> None:
        self._where = where
        self._parameters = parameters
        self._lock = threading.Lock()
        self._idle: connection | None = None

    def query(self, sql: str, parameters: Sequence[object], timeout_s: float) -> Answer:
        """Column names and rows of one statement, within ``timeout_s`` including the wait for other threads.

        On this wire times have no zone: here, both ways, they are UTC.

        Raises:
            RetryableError: the server is down or silent. psycopg2.Error: it refuses the statement.
        """
        began = time.monotonic()
        if not self._lock.acquire(timeout=timeout_s):
            raise RetryableError(f"{self._where}: busy with other queries for {timeout_s:g} s")
        try:
            return self._query(sql, parameters, began + timeout_s)
        except TimeoutError as error:
            raise RetryableError(f"{self._where}: no answer for {time.monotonic() - began:.1f} s") from error
        except (psycopg2.OperationalError, psycopg2.InterfaceError) as error:
            raise RetryableError(f"{self._where}: {str(error).strip()}") from error
        finally:
            self._lock.release()

    def close(self) -> None:
        """Closes the connection without waiting for a query of another thread."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    def _query(self, sql: str, parameters: Sequence[object], deadline: float) -> Answer:
        used, self._idle = self._idle or self._connect(deadline), None
        try:
            with used.cursor() as cursor:
                # Without parameters, a % in the query is literal.
                cursor.execute(sql, tuple(map(_without_zone, parameters)) or None)
                _wait(used, deadline)
                names = [column.name for column in cursor.description or ()]
                answer = names, [tuple(map(_in_utc, row)) for row in cursor.fetchall()] if names else []
        except BaseException:
            # An abandoned or interrupted query may still be answered, and the next one must not get that answer.
            used.close()
            raise
        self._idle = used
        return answer

    def _connect(self, deadline: float) -> connection:
        made: connection = psycopg2.connect(**self._parameters, async_=True)
        try:
            _wait(made, min(deadline, time.monotonic() + CONNECT_S))
        except BaseException:
            made.close()
            raise
        return made


def _without_zone(value: object) -> object:
    return value.astimezone(UTC).replace(tzinfo=None) if isinstance(value, datetime) else value


def _in_utc(value: object) -> object:
    return value.replace(tzinfo=UTC) if isinstance(value, datetime) else value


def _wait(waited: connection, deadline: float) -> None:
    """Returns once the connection has nothing left to send or receive; raises `TimeoutError` if that takes too long."""
    while (state := waited.poll()) != POLL_OK:
        poller = select.poll()
        poller.register(waited.fileno(), select.POLLIN if state == POLL_READ else select.POLLOUT)
        left_s = deadline - time.monotonic()
        if left_s <= 0 or not poller.poll(left_s * 1000):
            raise TimeoutError
