"""Programs with the mark of a lake's supervisor that have none any more are found and ended with their children."""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.commands.local_lake import require_no_orphans
from stack.layout import Layout, layout
from stack.supervision.orphans import end_orphans, orphans
from stack.supervision.process import Process
from tests.support.servers import scratch_settings

PARENT = """
import subprocess, sys, time
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
print(child.pid, flush=True)
time.sleep(60)
"""
TABLE = (Process("redis", "about", ("x",), ("redis_port",), lambda _: None),)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return scratch_settings(tmp_path)


@pytest.fixture
def paths(settings: Settings) -> Layout:
    return layout(settings)


@pytest.fixture
def left(paths: Layout) -> Iterator[tuple[int, int]]:
    """A program as supervisord would have started it, and its child."""
    mark = {"SUPERVISOR_SERVER_URL": f"unix://{paths.socket}", "SUPERVISOR_PROCESS_NAME": "redis"}
    with subprocess.Popen(
        (sys.executable, "-c", PARENT), env=os.environ | mark, stdout=subprocess.PIPE, text=True
    ) as program:
        assert program.stdout is not None
        yield program.pid, int(program.stdout.readline())
        program.kill()


def test_they_are_named_once_with_the_remedy(left: tuple[int, int], settings: Settings, paths: Layout) -> None:
    assert [str(one) for one in orphans(settings, paths, TABLE)] == [f"redis (pid {left[0]})"]
    with pytest.raises(FatalError, match=rf"run on without it: redis \(pid {left[0]}\); tradelake up ends them"):
        require_no_orphans(settings, paths, TABLE)


def test_they_end_with_their_children(left: tuple[int, int], settings: Settings, paths: Layout) -> None:
    said: list[str] = []
    end_orphans(settings, paths, TABLE, said.append, stop_s=1.0)
    assert said == [f"  ending what its supervisor left: redis (pid {left[0]})"]
    ended = [pid for pid in left if not psutil.pid_exists(pid) or psutil.Process(pid).status() == "zombie"]
    assert ended == list(left)
    require_no_orphans(settings, paths, TABLE)


def test_those_of_another_lake_are_none_of_ours(left: tuple[int, int], settings: Settings, tmp_path: Path) -> None:
    other = layout(scratch_settings(tmp_path / "other"))
    end_orphans(settings, other, TABLE, lambda _: None)
    assert all(map(psutil.pid_exists, left))
