"""The report tells what is well, what is away and what merely hangs, and never hangs itself."""

import time
from collections.abc import Iterator

import pytest

from lakehouse.settings import Settings
from lakehouse.stores.questdb import QuestDB
from stack.commands.status_report import StatusReport, gather
from stack.layout import layout
from stack.supervision.process_table import processes
from stack.supervision.supervisor import ProcessState
from tests.support.servers import SERVERS, LocalServers


def _report(lake: Settings, servers: LocalServers) -> StatusReport:
    table = [process for process in processes(lake, layout(lake)) if process.name in SERVERS]
    states = {name: ProcessState("running", servers.pid(name), 5, "") for name in SERVERS}
    return gather(lake, table, states)


@pytest.fixture
def hung_questdb(servers: LocalServers) -> Iterator[None]:
    servers.pause("questdb")
    yield
    servers.resume("questdb")


def test_tables_and_memory_are_told(fresh_lake: Settings, servers: LocalServers) -> None:
    database = QuestDB(fresh_lake)
    database.execute("CREATE TABLE bronze_x (ts TIMESTAMP, v INT) TIMESTAMP(ts) PARTITION BY DAY WAL")
    database.execute("INSERT INTO bronze_x VALUES ('2026-01-02T03:04:05.678Z', 1), ('2026-01-01T00:00:00Z', 2)")
    database.wait_applied(["bronze_x"])
    database.close()
    report = _report(fresh_lake, servers)
    assert report.healthy
    assert report.as_json()["tables"] == {"bronze_x": {"rows": 2, "newest": "2026-01-02T03:04:05.678Z"}}
    assert 50 < report.processes["questdb"].memory_mb < report.memory_mb < 2000


def test_a_hung_server_is_unhealthy_and_hangs_nobody(lake: Settings, servers: LocalServers, hung_questdb: None) -> None:
    begun = time.monotonic()
    report = _report(lake, servers)
    assert time.monotonic() - begun < 30
    assert not report.healthy
    assert {name: p.healthy for name, p in report.processes.items()} == {"questdb": False, "kafka": True, "redis": True}
    assert "ReadTimeout" in report.processes["questdb"].detail
    assert report.tables == {}
