"""supervisord for real, over small programs: crashes are mended, settings take effect, nothing is left behind."""

import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.layout import Layout, layout
from stack.supervision.process import Process
from stack.supervision.supervisor import Supervisor
from tests.support.servers import scratch_settings

SLEEPER = (sys.executable, "-c", "import time; print('awake', flush=True); time.sleep(600)")


def _sleeper(name: str, stop_stage: int = 1) -> Process:
    return Process(name, "sleeps", SLEEPER, (), lambda _: None, stop_stage=stop_stage)


TABLE = (_sleeper("first", 1), _sleeper("last", 2))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return scratch_settings(tmp_path)


@pytest.fixture
def paths(settings: Settings) -> Layout:
    return layout(settings)


@pytest.fixture
def supervisor(settings: Settings, paths: Layout) -> Iterator[Supervisor]:
    started = Supervisor(paths)
    started.write_config(settings, TABLE)
    started.boot()
    yield started
    if started.is_running():
        started.shut_down()


def _eventually(condition: Callable[[], bool], timeout_s: float = 10.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.05)


def test_nothing_runs_before_it_is_told_to(supervisor: Supervisor) -> None:
    assert {name: state.state for name, state in supervisor.states().items()} == {"first": "stopped", "last": "stopped"}


def test_a_killed_process_comes_back(supervisor: Supervisor, paths: Layout) -> None:
    supervisor.start("first")
    _eventually(lambda: supervisor.states()["first"].state == "running")
    killed = supervisor.states()["first"].pid
    psutil.Process(killed).kill()
    _eventually(lambda: supervisor.states()["first"].pid not in (0, killed))
    _eventually(lambda: (paths.logs / "first.log").read_text() == "awake\nawake\n")


def test_starting_twice_is_harmless(supervisor: Supervisor) -> None:
    supervisor.start("first")
    pid = supervisor.states()["first"].pid
    supervisor.start("first")
    assert supervisor.states()["first"].pid == pid


def test_a_changed_setting_stops_all_in_order_and_the_same_settings_none(
    supervisor: Supervisor, settings: Settings
) -> None:
    supervisor.start("last")
    supervisor.write_config(settings, TABLE)
    assert supervisor.update(TABLE) == []
    supervisor.write_config(settings.model_copy(update={"log_level": "DEBUG"}), TABLE)
    assert supervisor.update(TABLE) == ["first", "last"]
    assert {state.state for state in supervisor.states().values()} == {"stopped"}


def test_a_process_dropped_from_the_table_is_stopped(supervisor: Supervisor, settings: Settings) -> None:
    supervisor.start("last")
    pid = supervisor.states()["last"].pid
    supervisor.write_config(settings, TABLE[:1])
    supervisor.update(TABLE[:1])
    assert set(supervisor.states()) == {"first"}
    assert not psutil.pid_exists(pid)


def test_shutting_down_leaves_nothing(supervisor: Supervisor, paths: Layout) -> None:
    supervisor.start("first")
    pid = supervisor.states()["first"].pid
    supervisor.stop(["first", "last"])
    assert not psutil.pid_exists(pid)
    supervisor.shut_down()
    assert not supervisor.is_running()
    assert not paths.socket.exists()


def test_the_socket_of_a_dead_supervisor_is_no_hindrance(supervisor: Supervisor, paths: Layout) -> None:
    _eventually((paths.run / "supervisord.pid").exists)
    dead = psutil.Process(int((paths.run / "supervisord.pid").read_text()))
    dead.kill()
    _eventually(lambda: not dead.is_running() or dead.status() == psutil.STATUS_ZOMBIE)
    assert paths.socket.exists()
    assert not supervisor.is_running()
    supervisor.boot()
    assert supervisor.is_running()


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path / ("x" * 100))
    with pytest.raises(FatalError, match="set VAR_DIR to a shorter path"):
        Supervisor(layout(settings)).write_config(settings, TABLE)
