"""supervisord for real, over small programs: crashes are mended, settings take effect, nothing is left behind."""

import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.commands.down import down
from stack.commands.local_lake import require_no_orphans
from stack.layout import Layout, layout
from stack.supervision.orphans import end_orphans, orphans
from stack.supervision.process import Process
from stack.supervision.supervisor import Supervisor
from tests.integration.lakes import eventually
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


def _kill(paths: Layout) -> None:
    """kill -9 of supervisord."""
    eventually((paths.run / "supervisord.pid").exists)
    dead = psutil.Process(int((paths.run / "supervisord.pid").read_text()))
    dead.kill()
    eventually(lambda: not dead.is_running() or dead.status() == psutil.STATUS_ZOMBIE)


def test_nothing_runs_before_it_is_told_to(supervisor: Supervisor) -> None:
    assert {name: state.state for name, state in supervisor.states().items()} == {"first": "stopped", "last": "stopped"}


def test_a_killed_process_comes_back(supervisor: Supervisor, paths: Layout) -> None:
    supervisor.start("first")
    eventually(lambda: supervisor.states()["first"].state == "running")
    killed = supervisor.states()["first"].pid
    psutil.Process(killed).kill()
    eventually(lambda: supervisor.states()["first"].pid not in (0, killed))
    eventually(lambda: (paths.logs / "first.log").read_text() == "awake\nawake\n")


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
    _kill(paths)
    assert paths.socket.exists()
    assert not supervisor.is_running()
    supervisor.boot()
    assert supervisor.is_running()


def test_a_path_too_long_for_a_socket_is_named(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path / ("x" * 100))
    with pytest.raises(FatalError, match="set VAR_DIR to a shorter path"):
        Supervisor(layout(settings)).write_config(settings, TABLE)


@pytest.fixture
def left(supervisor: Supervisor, settings: Settings, paths: Layout) -> Iterator[dict[str, int]]:
    """Name and pid of two programs whose supervisor was killed."""
    for name in ("first", "last"):
        supervisor.start(name)
    eventually(lambda: all(state.state == "running" for state in supervisor.states().values()))
    pids = {name: state.pid for name, state in supervisor.states().items()}
    assert orphans(settings, paths, TABLE) == []
    _kill(paths)
    yield pids
    end_orphans(settings, paths, TABLE, lambda _: None)


def test_orphans_of_a_killed_supervisor_are_named_with_the_remedy(
    left: dict[str, int], settings: Settings, paths: Layout
) -> None:
    with pytest.raises(FatalError) as told:
        require_no_orphans(settings, paths, TABLE)
    assert f"first (pid {left['first']}), last (pid {left['last']})" in str(told.value)
    assert "tradelake down" in str(told.value)


def test_down_ends_the_orphans_of_a_killed_supervisor(left: dict[str, int], settings: Settings, paths: Layout) -> None:
    said: list[str] = []
    down(settings, paths, TABLE, said.append)
    assert not any(map(psutil.pid_exists, left.values()))
    assert [line.split()[-3] for line in said if "ending" in line] == ["first", "last"]
    require_no_orphans(settings, paths, TABLE)


def test_another_lake_beside_leaves_them_alone(left: dict[str, int], tmp_path: Path) -> None:
    other = scratch_settings(tmp_path / "other")
    down(other, layout(other), TABLE, lambda _: None)
    assert all(map(psutil.pid_exists, left.values()))


def test_a_supervisor_starts_anew_where_one_was_killed(left: dict[str, int], settings: Settings, paths: Layout) -> None:
    end_orphans(settings, paths, TABLE, lambda _: None)
    # As the next `tradelake up` would: a client of its own, with no connection to the dead one.
    again = Supervisor(paths)
    again.boot()
    try:
        again.start("first")
        eventually(lambda: again.states()["first"].state == "running")
        assert again.states()["first"].pid != left["first"]
        assert orphans(settings, paths, TABLE) == []
    finally:
        again.shut_down()
