"""Two starts at once: the second says who is at work; a killed one leaves no lock behind."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from lakehouse.errors import RetryableError
from stack.layout import Layout
from stack.supervision.lock import alone

HOLDER = """
import sys, time
from pathlib import Path
from stack.layout import Layout
from stack.supervision.lock import alone
var = Path(sys.argv[1])
with alone(Layout(var, var, var), "tradelake up"):
    print("held", flush=True)
    time.sleep(60)
"""


def test_the_second_names_the_first_and_a_killed_one_frees_the_lake(tmp_path: Path) -> None:
    paths = Layout(tmp_path, tmp_path, tmp_path)
    command = (sys.executable, "-c", HOLDER, str(tmp_path))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout is not None
        assert first.stdout.readline() == "held\n"
        with pytest.raises(RetryableError, match=rf"tradelake up \(pid {first.pid}\).*is under way"):  # noqa: SIM117
            with alone(paths, "tradelake up"):
                pass
        os.kill(first.pid, signal.SIGKILL)
    with alone(paths, "tradelake up"):
        assert (paths.run / "up.lock").read_text() == f"tradelake up (pid {os.getpid()})\n"


def test_another_lake_has_a_lock_of_its_own(tmp_path: Path) -> None:
    first, second = (Layout(tmp_path / name, tmp_path, tmp_path) for name in ("a", "b"))
    with alone(first, "tradelake up"), alone(second, "tradelake up"):
        pass
