"""Starting by need: dependents wait for their probes, and a process that keeps ending is reported with its log."""

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import Settings
from stack.layout import layout
from stack.supervision.launch import Launch
from stack.supervision.process import Process
from stack.supervision.supervisor import Supervisor
from tests.support.servers import scratch_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return scratch_settings(tmp_path)


@pytest.fixture
def supervisor(settings: Settings) -> Iterator[Supervisor]:
    supervisor = Supervisor(layout(settings))
    yield supervisor
    if supervisor.is_running():
        supervisor.shut_down()


def _python(name: str, program: str, ready: Path, *after: str) -> Process:
    def probe(_: Settings) -> None:
        if not ready.exists():
            raise RetryableError("not there yet")

    return Process(name, "about", (sys.executable, "-c", program, str(ready)), (), probe, after)


def _launch(settings: Settings, supervisor: Supervisor, *table: Process) -> list[str]:
    said: list[str] = []
    supervisor.write_config(settings, table)
    supervisor.boot()
    Launch(settings, layout(settings), supervisor, said.append).run(table)
    return said


WRITER = "import pathlib, sys, time; time.sleep(0.3); pathlib.Path(sys.argv[1]).write_text(''); time.sleep(600)"


def test_a_process_starts_only_after_what_it_needs_is_healthy(
    settings: Settings, supervisor: Supervisor, tmp_path: Path
) -> None:
    first, second = tmp_path / "first", tmp_path / "second"
    said = _launch(settings, supervisor, _python("second", WRITER, second, "first"), _python("first", WRITER, first))
    assert [line.split()[0] for line in said] == ["first", "second"]
    assert first.stat().st_mtime < second.stat().st_mtime


def test_a_process_that_keeps_ending_is_given_up_with_its_log(
    settings: Settings, supervisor: Supervisor, tmp_path: Path
) -> None:
    broken = _python("broken", "import time; time.sleep(0.3); raise SystemExit('no such table: x')", tmp_path / "never")
    with pytest.raises(FatalError, match=r"(?s)broken exits repeatedly.*no such table: x"):
        _launch(settings, supervisor, broken)
