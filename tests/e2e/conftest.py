"""One lake for all end-to-end tests: started by up.sh on the simulated market, stopped by down.sh."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from stack.envfile import child_environment, secret_names
from tests.e2e.lakes import Lake
from tests.support.servers import scratch_settings


@pytest.fixture(scope="session")
def lake(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lake]:
    folder = tmp_path_factory.mktemp("e2e")
    left_out = {name.upper() for name in (*secret_names(), "source")}
    scratch = child_environment(scratch_settings(folder / "var"))
    ours = {name: value for name, value in scratch.items() if name not in left_out}
    # As after `. .venv/bin/activate`.
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    started = Lake(os.environ | ours | {"ENV_FILE": str(folder / "env"), "PATH": path})
    try:
        done = started.run("up.sh", "--source", "simulator")
        assert done.returncode == 0, done.stdout + done.stderr
        assert "all healthy" in done.stdout
        yield started
    finally:
        done = started.run("down.sh")
        assert done.returncode == 0, done.stdout + done.stderr
