"""A QuestDB that stands still holds none of its clients: every query ends, by an answer, an error or a signal."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from types import FrameType

import pytest

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from tests.support.servers import LocalServers

TIMEOUT_S = 1.0
# What a busy machine may take on top of it.
SLACK_S = 2.0


@pytest.fixture
def questdb(lake: Settings) -> Iterator[QuestDB]:
    """A client that is short of patience, already connected."""
    database = QuestDB(lake, timeout_s=TIMEOUT_S)
    database.ping(10)
    yield database
    database.close()


@contextmanager
def standing_still(servers: LocalServers) -> Iterator[None]:
    """The server neither answers nor closes its connections."""
    servers.pause("questdb")
    try:
        yield
    finally:
        servers.resume("questdb")


def _seconds_until_away(database: QuestDB) -> float:
    began = time.monotonic()
    with pytest.raises(RetryableError, match=r"QuestDB at 127\.0\.0\.1:\d+: (no answer for|busy)"):
        database.rows("SELECT 1")
    return time.monotonic() - began


def test_a_query_is_given_up_and_the_next_one_works(questdb: QuestDB, servers: LocalServers) -> None:
    with standing_still(servers):
        assert TIMEOUT_S <= _seconds_until_away(questdb) < TIMEOUT_S + SLACK_S
        # Nor does a new connection come about.
        assert _seconds_until_away(questdb) < TIMEOUT_S + SLACK_S
        with pytest.raises(RetryableError, match="QuestDB at"):
            questdb.frame("SELECT 1")
    # Each answer belongs to its own question.
    assert questdb.rows("SELECT 2") == [(2,)]
    questdb.ping(10)


def test_those_who_wait_for_their_turn_are_not_held_either(questdb: QuestDB, servers: LocalServers) -> None:
    with standing_still(servers), ThreadPoolExecutor(4) as pool:
        began = time.monotonic()
        waited = list(pool.map(lambda _: _seconds_until_away(questdb), range(4)))
        assert time.monotonic() - began < TIMEOUT_S + SLACK_S, waited
    questdb.ping(10)


def test_a_signal_interrupts_and_the_answer_that_comes_later_is_nobodys(lake: Settings, servers: LocalServers) -> None:
    class ToldToStopError(Exception):
        pass

    def stop(number: int, frame: FrameType | None) -> None:
        raise ToldToStopError

    database = QuestDB(lake)
    database.ping(10)
    before = signal.signal(signal.SIGALRM, stop)
    try:
        with standing_still(servers), pytest.raises(ToldToStopError):
            signal.setitimer(signal.ITIMER_REAL, 0.3)
            database.rows("SELECT 'late'")
    finally:
        signal.signal(signal.SIGALRM, before)
    assert database.rows("SELECT 'next'") == [("next",)]
    database.close()


def test_a_wrong_query_says_so_and_the_next_one_works(questdb: QuestDB) -> None:
    with pytest.raises(FatalError, match="nowhere"):
        questdb.rows("SELECT * FROM nowhere")
    assert questdb.rows("SELECT %s, '100 %%'", (1,)) == [(1, "100 %")]
    assert questdb.rows("SELECT '100 %'") == [("100 %",)]


def test_a_server_that_is_gone_is_away_at_once(questdb: QuestDB, servers: LocalServers) -> None:
    servers.kill("questdb")
    try:
        for _ in range(2):
            with pytest.raises(RetryableError, match="QuestDB at"):
                questdb.rows("SELECT 1")
    finally:
        servers.start("questdb")
    questdb.ping(10)
