"""The runbooks of backups and restores, typed as they stand, on a lake with an object store and a running consumer."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import yaml

from downstream import retention
from downstream.restore import rebuild_views
from lakehouse.settings import Settings
from lakehouse.stores import kafka
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from stack.envfile import child_environment
from stack.layout import ROOT, layout
from stack.supervision.process import Process
from stack.supervision.process_table import processes
from stack.supervision.supervisor import Supervisor
from tests.integration.days import fill
from tests.integration.lakes import eventually

RUNBOOKS = ROOT / "docs/runbooks"
BLOCK = re.compile(r"^ *```bash\n(.*?)^ *```", re.MULTILINE | re.DOTALL)
CONTAINER = re.compile(r"^docker compose (\w+) (\S+) ?(.*)$", re.MULTILINE)
# The day that the runbooks name.
DAY = date(2026, 1, 5)
NOW = datetime.now(UTC)
SLEEPER = (sys.executable, "-c", "import time; time.sleep(600)")
# What else is stopped for a whole restore; how it stops is its own affair.
OTHERS = tuple(
    Process(name, "sleeps", SLEEPER, (), lambda _: None) for name in ("scheduler", "producer", "predictor", "score")
)

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def questdb(stored_lake: Settings) -> Iterator[QuestDB]:
    """The emptied lake, filled with the runbooks' day and the running one."""
    database = QuestDB(stored_lake)
    fill(database, stored_lake, [DAY, NOW.date()])
    rebuild_views(database, stored_lake.feature_interval_ms)
    yield database
    database.close()


@pytest.fixture
def home(stored_lake: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A checkout as the runbooks have it, with this lake's folder and settings."""
    (tmp_path / ".venv").symlink_to(sys.prefix)
    (tmp_path / "var").symlink_to(stored_lake.var_dir)
    for name, value in child_environment(stored_lake).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("PATH", f"{tmp_path}/.venv/bin:{os.environ['PATH']}")
    return tmp_path


@pytest.fixture
def supervisor(questdb: QuestDB, home: Path, stored_lake: Settings) -> Iterator[Supervisor]:
    """A real supervisord with a real consumer."""
    paths = layout(stored_lake)
    consumer = next(p for p in processes(stored_lake, paths) if p.name == "consumer")
    started = Supervisor(paths)
    started.write_config(stored_lake, (consumer, *OTHERS))
    started.boot()
    for process in (consumer, *OTHERS):
        started.start(process.name)
    client = kafka.admin(stored_lake)
    eventually(lambda: kafka.members(client) == 1, 60)
    yield started
    started.shut_down()


def _type(page: str, home: Path) -> None:
    blocks = [match[1] for match in BLOCK.finditer((RUNBOOKS / page).read_text())]
    assert len(blocks) > 1
    for block in blocks:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", block],
            cwd=home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{block}\n{done.stdout}{done.stderr}"


def test_backups_restores_and_drills_as_the_runbooks_say(
    supervisor: Supervisor, questdb: QuestDB, objects: Objects, home: Path
) -> None:
    _type("backup.md", home)
    count = f"SELECT count() FROM bronze_trades WHERE ts IN '{DAY}'"
    held = questdb.rows(count)
    assert held[0][0] > 0
    retention.apply(questdb, objects, 3, NOW, settle=lambda: None)
    assert questdb.rows(count) == [(0,)]
    _type("restore.md", home)
    assert questdb.rows(count) == questdb.rows(count.replace("bronze", "scratch_bronze")) == held
    # The last thing said is to stop everything: what stands still is started again by up.sh.
    assert {state.state for state in supervisor.states().values()} == {"stopped"}


@pytest.mark.parametrize("page", ["backup.md", "restore.md"])
def test_containers_do_the_same_and_have_what_it_takes(page: str) -> None:
    text = (RUNBOOKS / page).read_text()
    services = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    told = CONTAINER.findall(text)
    assert told
    for verb, service, command in told:
        assert service in services
        if verb == "exec":
            assert {"KAFKA_HOST", "QUESTDB_PASSWORD", "S3_SECRET_KEY"} <= services[service]["environment"].keys()
            assert f"\n{command}\n" in text
