"""Starts a DAG through Airflow's REST API."""

from typing import Any

import httpx

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings

TIMEOUT_S = 10.0


def trigger(settings: Settings, dag: str) -> dict[str, Any]:
    """Starts a run of ``dag`` now.

    Returns:
        ``dag_id``, ``dag_run_id`` and ``state`` of the new run.

    Raises:
        RetryableError: Airflow does not run. FatalError: it refuses us or has no such DAG.
    """
    base = f"http://{settings.airflow_host}:{settings.airflow_port}"
    try:
        with httpx.Client(base_url=base, timeout=TIMEOUT_S) as client:
            password = settings.airflow_password.get_secret_value()
            login = client.post("/auth/token", json={"username": settings.airflow_user, "password": password})
            _check(login, "log in; compare AIRFLOW_USER and AIRFLOW_PASSWORD in .env with Airflow's")
            headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
            run = client.post(f"/api/v2/dags/{dag}/dagRuns", json={"logical_date": None}, headers=headers)
            _check(run, f"start the DAG {dag}")
    except httpx.TransportError as error:
        raise RetryableError(
            f"Airflow does not answer at {base} ({type(error).__name__}): start it with tradelake up --full"
        ) from error
    started: dict[str, Any] = run.json()
    return {name: started[name] for name in ("dag_id", "dag_run_id", "state")}


def _check(response: httpx.Response, what: str) -> None:
    if response.is_server_error:
        raise RetryableError(f"Airflow cannot {what}: HTTP {response.status_code}")
    if response.is_error:
        raise FatalError(f"Airflow refuses to {what}: HTTP {response.status_code}: {response.text[:200]}")
