"""Runs one of Airflow's processes, configured by environment."""

import base64
import hashlib
import hmac
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import NoReturn

from lakehouse.settings import Settings
from stack.layout import ROOT, Layout, layout
from stack.servers import postgres
from stack.servers.preparation import write_private

# Without --skip-serve-logs the scheduler would open one more port; the API server reads the same folder anyway.
COMMANDS = {
    "api-server": ("api-server",),
    "scheduler": ("scheduler", "--skip-serve-logs"),
    "dag-processor": ("dag-processor",),
}


def environment(settings: Settings, paths: Layout) -> dict[str, str]:
    """Airflow's configuration: LocalExecutor, two tasks at once, our DAGs, one user, our address.

    The database is PostgreSQL if it is installed, otherwise a SQLite file.
    """
    home = paths.state / "airflow"
    url = f"http://{settings.airflow_host}:{settings.airflow_port}"
    database = postgres.uri(settings, "airflow") if postgres.in_use(settings) else f"sqlite:///{home / 'airflow.db'}"
    options = {
        "core__executor": "LocalExecutor",
        "core__parallelism": "2",
        "core__dags_folder": str(ROOT / "dags"),
        "core__load_examples": "False",
        "core__dags_are_paused_at_creation": "False",
        "core__execution_api_server_url": f"{url}/execution/",
        "core__fernet_key": base64.urlsafe_b64encode(_derived(settings, "fernet")).decode(),
        "core__simple_auth_manager_users": f"{settings.airflow_user}:admin",
        "core__simple_auth_manager_passwords_file": str(home / "passwords.json"),
        "database__sql_alchemy_conn": database,
        "api__host": settings.bind_host,
        "api__port": str(settings.airflow_port),
        "api__base_url": url,
        "api__workers": "1",
        "api__secret_key": _derived(settings, "session").hex(),
        "api__expose_config": "False",
        "api_auth__jwt_secret": _derived(settings, "jwt").hex(),
        "dag_processor__refresh_interval": "30",
        "usage_data_collection__enabled": "False",
    }
    own = {"AIRFLOW_HOME": str(home), "ENV_FILE": str(Path(os.environ.get("ENV_FILE", ".env")).resolve())}
    return own | {f"AIRFLOW__{name.upper()}": value for name, value in options.items()}


def execute(settings: Settings, command: str) -> NoReturn:
    """Becomes one of `COMMANDS`; the API server first migrates the database and writes the password file."""
    paths = layout(settings)
    os.environ |= environment(settings, paths)
    if command == "api-server":
        home = paths.state / "airflow"
        home.mkdir(parents=True, exist_ok=True)
        users = {settings.airflow_user: settings.airflow_password.get_secret_value()}
        write_private(home / "passwords.json", json.dumps(users))
        subprocess.run((sys.executable, "-m", "airflow", "db", "migrate"), check=True)
    os.execv(sys.executable, (sys.executable, "-m", "airflow", *COMMANDS[command]))  # noqa: S606


def _derived(settings: Settings, purpose: str) -> bytes:
    """Derives 32 bytes for one purpose from the shared secret."""
    secret = settings.airflow_secret_key.get_secret_value().encode()
    return hmac.new(secret, purpose.encode(), hashlib.sha256).digest()
