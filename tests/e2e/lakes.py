"""A lake that the scripts start, as a user does it."""

import json
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lakehouse.settings import Settings, load_settings
from lakehouse.stores.questdb import QuestDB
from stack.supervision.process import TRADELAKE

ROOT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Lake:
    """A lake started by the scripts, with an environment (ports, folders) and a `.env` of its own."""

    environment: dict[str, str]

    @property
    def env_file(self) -> Path:
        return Path(self.environment["ENV_FILE"])

    @property
    def settings(self) -> Settings:
        ours = {
            name.lower(): value for name, value in self.environment.items() if name.lower() in Settings.model_fields
        }
        return load_settings(_env_file=self.env_file, **ours)

    def run(self, script: str, *arguments: str, timeout_s: float = 600) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [ROOT / "scripts" / script, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def tradelake(self, *arguments: str, timeout_s: float = 300) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [*TRADELAKE, *arguments],
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
        )

    def status(self, healthy: bool = True) -> dict[str, Any]:
        """What `status.sh --json` says; unless `healthy` is False, all must be well."""
        done = self.run("status.sh", "--json")
        assert done.returncode == 0 or not healthy, done.stdout + done.stderr
        return dict(json.loads(done.stdout))

    def until(self, what: str, is_so: Callable[[], bool], timeout_s: float) -> None:
        """Returns once `is_so()`; fails with what the lake says of itself after `timeout_s`."""
        deadline = time.monotonic() + timeout_s
        while not is_so():
            assert time.monotonic() < deadline, f"not in {timeout_s:g} s: {what}\n{self.run('status.sh').stdout}"
            time.sleep(0.5)

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        database = QuestDB(self.settings, readonly=True)
        try:
            return database.rows(sql)
        finally:
            database.close()
