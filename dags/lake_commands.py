"""Runs one of our commands as an Airflow task, in its own process, exactly as it runs by hand."""

import json
import logging
import os
import re
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk.exceptions import AirflowException, AirflowSkipException

from tradelake.statuses import ExitStatus

log = logging.getLogger(__name__)
TRADELAKE = str(Path(sys.executable).with_name("tradelake"))


def ended(state: str) -> Callable[[Any], None]:
    """A callback that records a task's outcome in ``gold_quality``; a failure to do so is in the task's log."""

    def tell(context: Any) -> None:
        task = context["task_instance"]
        words = [task.dag_id, task.task_id, state, "--tries", str(task.try_number)]
        subprocess.run([TRADELAKE, "task-result", *words], check=True, stdout=subprocess.DEVNULL)

    return tell


# Default arguments of all our DAGs.
DEFAULTS = {
    "owner": "tradelake",
    "retries": 2,
    "retry_delay": timedelta(minutes=2),
    "execution_timeout": timedelta(hours=2),
    "on_success_callback": ended("success"),
    "on_skipped_callback": ended("skipped"),
    "on_failure_callback": ended("failed"),
}


def run(command: str, *arguments: str) -> Any:
    """Runs ``tradelake command --json``; its lines go to the task's log, its last line of JSON is the result.

    The process is its own, so that heavy imports leave nothing behind and a command's logging stays its own. Results
    are small: they travel through XCom. Secrets reach the command by its settings, never by its arguments.

    Raises:
        AirflowException: it ended with a status other than 0; with its last words. AirflowSkipException: status 99.
    """
    words = [TRADELAKE, command, *arguments, "--json"]
    log.info("running tradelake %s", " ".join(words[1:]))
    result, last = None, ""
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
        try:
            for line in process.stdout or ():
                last = line.rstrip()
                log.info("%s", last)
                if last.startswith(("{", "[")):
                    result = json.loads(last)
            status = process.wait()
        finally:
            # When Airflow ends this task, the command must end too.
            process.terminate()
    if status == ExitStatus.NOTHING_TO_DO:
        raise AirflowSkipException(last)
    if status != 0:
        raise AirflowException(f"tradelake {command} ended with status {status}: {last}")
    return result


def work_folder(run_id: str) -> Path:
    """A folder under Airflow's home in which the steps of one DAG run exchange files."""
    folder = Path(os.environ["AIRFLOW_HOME"]) / "work" / re.sub(r"[^A-Za-z0-9]+", "-", run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder
