"""A DAG run by Airflow itself, in front of real stores: its result is kept, and no secret is, anywhere in the lake."""

import os
import sqlite3
import subprocess
import sys
from datetime import date, timedelta
from pathlib import Path

import psutil
import pytest

from lakehouse.settings import Settings
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from stack.envfile import child_environment
from stack.layout import layout
from stack.servers.airflow import environment
from tests.integration.days import fill
from tests.leaks import leaks, secrets_of, told

DAY = date(2026, 1, 5)


@pytest.fixture
def airflow(stored_lake: Settings) -> dict[str, str]:
    """The environment of an Airflow with a database of its own, as `stack.servers.airflow` sets it up, on SQLite."""
    paths = layout(stored_lake)
    home = paths.state / "airflow"
    home.mkdir(parents=True, exist_ok=True)
    database = {"AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{home / 'airflow.db'}"}
    return os.environ | environment(stored_lake, paths) | child_environment(stored_lake) | database


def _run(environment: dict[str, str], *words: str) -> str:
    done = subprocess.run(
        (sys.executable, "-m", "airflow", *words), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def test_a_backup_run_by_airflow_leaves_its_result_and_no_secret(
    airflow: dict[str, str], stored_lake: Settings, objects: Objects
) -> None:
    questdb = QuestDB(stored_lake)
    fill(questdb, stored_lake, [DAY, DAY + timedelta(days=1)])
    said = _run(airflow, "db", "migrate")
    said += _run(airflow, "dags", "test", "backup_daily", "--conf", f'{{"day": "{DAY}"}}')
    with sqlite3.connect(Path(airflow["AIRFLOW_HOME"]) / "airflow.db") as database:
        runs = database.execute("SELECT state FROM dag_run").fetchall()
        results = dict(database.execute("SELECT task_id, value FROM xcom WHERE key = 'return_value'").fetchall())
    assert runs == [("success",)]
    assert '"written":6' in results["backup"].replace("\\", "").replace(" ", "")
    assert len(list(objects.list("bronze/"))) == 2 * 2 * 2
    questdb.wait_applied(["gold_quality"])
    ends = questdb.rows("SELECT feature, detail, value, n FROM gold_quality WHERE measure = 'task' ORDER BY ts")
    questdb.close()
    assert ends == [("backup_daily.backup", "success", 1.0, 1), ("backup_daily.retention", "skipped", 1.0, 1)]
    assert not [name for name, value in secrets_of(stored_lake).items() if value in said.encode()]
    # Logs and metadata of every server of this test run lie below, too.
    assert leaks(stored_lake, stored_lake.var_dir) == []
    assert told(stored_lake, psutil.Process().children(recursive=True)) == []
