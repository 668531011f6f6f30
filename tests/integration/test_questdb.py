"""A QuestDB that stands still holds none of its clients: every query ends, by an answer, an error or a signal."""

import signal
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta, timezone
from types import FrameType

import polars as pl
import pytest

from lakehouse.errors import FatalError, RetryableError
from lakehouse.schema import META_EPOCHS
from lakehouse.settings import Settings
from lakehouse.stores.bronze import instant
from lakehouse.stores.questdb import QuestDB
from tests.support.servers import LocalServers

TIMEOUT_S = 1.0
# What a busy machine may take on top of it.
SLACK_S = 15.0


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


def test_times_are_utc_in_rows_frames_and_parameters(fresh_lake: Settings) -> None:
    database = QuestDB(fresh_lake)
    database.migrate([META_EPOCHS], ())
    at = datetime(2026, 3, 1, 12, 30, 0, 123456, tzinfo=UTC)
    row = {"ts": [at], "topic": ["t"], "topic_id": ["x"], "epoch": [1]}
    database.write(META_EPOCHS, pl.DataFrame(row))
    database.wait_applied([META_EPOCHS.name])
    assert database.rows("SELECT ts FROM meta_epochs") == [(at,)]
    assert database.frame("SELECT ts FROM meta_epochs").equals(pl.DataFrame({"ts": [at]}))
    elsewhere = at.astimezone(timezone(timedelta(hours=5)))
    assert database.rows("SELECT epoch FROM meta_epochs WHERE ts = %s", [elsewhere]) == [(1,)]
    assert database.rows(f"SELECT epoch FROM meta_epochs WHERE ts = {instant(elsewhere)}") == [(1,)]
    database.close()


def test_a_table_or_column_that_is_not_there_is_fatal_and_no_poison(fresh_lake: Settings) -> None:
    now = datetime(2026, 1, 1, tzinfo=UTC)
    frame = pl.DataFrame({"ts": [now], "topic": ["t"], "topic_id": ["x"], "epoch": [1]})
    database = QuestDB(fresh_lake)
    with pytest.raises(FatalError, match=r"table meta_epochs.*table does not exist"):
        database.write(META_EPOCHS, frame)
    database.execute("CREATE TABLE meta_epochs (ts TIMESTAMP, epoch STRING) TIMESTAMP(ts) PARTITION BY DAY WAL")
    with pytest.raises(FatalError, match=r"column: topic does not exist"):
        database.write(META_EPOCHS, frame)
    with pytest.raises(FatalError, match="cast error"):
        database.write(META_EPOCHS, frame.select("ts", "epoch"))
    database.close()
    # A client that starts anew makes it and goes on.
    database = QuestDB(fresh_lake)
    database.execute("DROP TABLE meta_epochs")
    database.migrate([META_EPOCHS], ())
    database.write(META_EPOCHS, frame)
    database.wait_applied([META_EPOCHS.name])
    assert database.rows("SELECT epoch FROM meta_epochs") == [(1,)]
    database.close()
