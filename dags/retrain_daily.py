"""Trains on the lake's newest days; promotes the challenger if it beats the champion and the best simple rule."""

import shutil
from datetime import UTC, datetime
from typing import Any

from airflow.sdk import Param, dag, get_current_context, task

from lake_commands import DEFAULTS, run, work_folder

PARAMS = {
    "symbols": Param([], type="array", items={"type": "string"}, description="Pairs such as BTC/USD; none: all."),
    "days": Param(14.0, type="number", exclusiveMinimum=0, description="How many of the newest days to train on."),
    "tuning_budget": Param("0", type="string", pattern="^[0-9]+s?$", description="Trials (20) or seconds (90s)."),
}


def step(name: str) -> Any:
    """One step of ``tradelake train``; its output for the next step is in the run's folder."""
    context = get_current_context()
    asked: dict[str, Any] = dict(context["params"])
    words = ["--step", name, "--folder", str(work_folder(str(context["run_id"])))]
    words += ["--days", str(asked["days"]), "--tuning-budget", str(asked["tuning_budget"]), "--promote"]
    if asked["symbols"]:
        words += ["--symbols", ",".join(asked["symbols"])]
    return run("train", *words)[name]


@dag(
    schedule="30 2 * * *",
    start_date=datetime(2026, 1, 1, tzinfo=UTC),
    catchup=False,
    max_active_runs=1,
    default_args=DEFAULTS,
    tags=["training"],
    params=PARAMS,
    doc_md=__doc__,
)
def retrain_daily() -> None:
    """The API follows the registry's alias; with too little history the run is skipped."""

    @task
    def check_data() -> Any:
        """Fails if the feed is stalled: a model would be trained on a market that is gone."""
        return run("quality", "--feed")

    @task
    def dataset() -> Any:
        """Complete feature rows beside what happened after them."""
        return step("prepare")

    @task
    def leak_gate() -> Any:
        """Nothing may know the future, and the checks that say so must fire on a planted leak."""
        return step("leaks")

    @task
    def train() -> Any:
        """Searches the boosters' settings within the budget."""
        return step("tune")

    @task
    def evaluate() -> Any:
        """Walks forward, with an embargo; makes the challengers and their report."""
        return step("evaluate")

    @task
    def decide() -> Any:
        """Registers the challengers; each that beats champion and best rule is promoted, the others are kept."""
        return step("decide")

    @task
    def clean_up() -> None:
        """Removes the run's folder, however the run ended."""
        shutil.rmtree(work_folder(str(get_current_context()["run_id"])))

    data = dataset()
    last = decide()
    check_data() >> data >> leak_gate() >> train() >> evaluate() >> last
    # A teardown: it has no say in whether the run succeeded, and clearing a step brings the dataset back first.
    last >> clean_up().as_teardown(setups=data)


retrain_daily()
