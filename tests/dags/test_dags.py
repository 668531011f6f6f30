"""Rules over every DAG: it loads, fast and without heavy imports, and is set up to fail visibly and never pile up."""

import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

DAGS = Path(__file__).resolve().parents[2] / "dags"
EXPECTED = {
    "retrain_daily": "30 2 * * *",
    "backup_daily": "20 0 * * *",
    "replay_daily": "10 1 * * *",
    "quality_hourly": "5 * * * *",
    "repair_hourly": "35 * * * *",
    "restore_drill_weekly": "0 4 * * 0",
}
HEAVY = ("polars", "pandas", "xgboost", "mlflow", "questdb", "minio", "confluent_kafka", "forecast", "downstream")


@pytest.fixture(scope="module")
def bag(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """All DAGs, loaded the way Airflow's DAG processor loads them, in an Airflow home of their own."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AIRFLOW_HOME", str(tmp_path_factory.mktemp("airflow")))
        patch.setenv("AIRFLOW__CORE__LOAD_EXAMPLES", "False")
        patch.syspath_prepend(str(DAGS))
        from airflow.dag_processing.dagbag import DagBag

        yield DagBag(DAGS, bundle_path=DAGS, bundle_name="dags-folder")


def test_every_dag_loads(bag: Any) -> None:
    assert bag.import_errors == {}
    assert set(bag.dags) == set(EXPECTED)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_dag_keeps_the_house_rules(bag: Any, name: str) -> None:
    dag = bag.dags[name]
    assert dag.schedule == EXPECTED[name]
    assert dag.catchup is False
    assert dag.max_active_runs == 1
    assert dag.tags
    assert dag.doc_md
    for task in dag.tasks:
        assert task.owner == "tradelake"
        assert task.retries >= 1
        assert task.retry_delay >= timedelta(seconds=30)
        assert task.execution_timeout is not None
        assert task.doc_md or task.python_callable.__doc__


def test_retraining_goes_from_data_to_promotion_and_takes_parameters(bag: Any) -> None:
    dag = bag.dags["retrain_daily"]
    order = [task.task_id for task in dag.topological_sort()]
    assert order == ["check_data", "dataset", "leak_gate", "train", "evaluate", "decide", "clean_up"]
    assert set(dag.params) == {"symbols", "days", "tuning_budget"}


def test_loading_brings_in_nothing_heavy() -> None:
    # In a process of its own: what other tests have imported must not count.
    code = f"""
import sys
sys.path.insert(0, {str(DAGS)!r})
import airflow.sdk
from airflow.sdk import dag, task, Param
before = set(sys.modules)
for name in {sorted(EXPECTED)!r}:
    __import__(name)
heavy = [m for m in sys.modules if m.split('.')[0] in {HEAVY!r} and m not in before]
assert not heavy, heavy
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
