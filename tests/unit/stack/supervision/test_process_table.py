"""The process table is consistent: names and ports are unique, what a process waits for exists, stops are in order."""

from pathlib import Path

import pytest

from lakehouse.settings import Settings, load_settings
from stack.layout import layout
from stack.supervision.process import Process
from stack.supervision.process_table import processes


def _table(source: str, full: bool = True) -> dict[str, Process]:
    settings = load_settings(_env_file=None, source=source)
    return {p.name: p for p in processes(settings, layout(settings), full)}


@pytest.mark.parametrize("source", ["kraken", "simulator"])
def test_every_process_waits_only_for_earlier_ones(source: str) -> None:
    table = _table(source)
    done: set[str] = set()
    while len(done) < len(table):
        ready = {name for name, p in table.items() if name not in done and set(p.after) <= done}
        assert ready, f"{set(table) - done} wait for each other or for a process that does not exist"
        done |= ready


def test_default_ports_are_distinct() -> None:
    settings = load_settings(_env_file=None)
    numbers = [n for p in _table("simulator").values() for n in p.port_numbers(settings).values()]
    assert len(numbers) == len(set(numbers))


def test_the_simulator_runs_only_with_the_simulated_market() -> None:
    assert "simulator" in _table("simulator")
    assert "simulator" not in _table("kraken")


def test_the_source_stops_before_the_consumer_and_the_stores_last() -> None:
    stage = {name: p.stop_stage for name, p in _table("simulator").items()}
    assert max(stage["producer"], stage["simulator"]) < stage["consumer"]
    assert stage["consumer"] < min(stage["predictor"], stage["score"])
    assert max(stage[name] for name in ("consumer", "predictor", "score", "api", "mlflow")) < stage["questdb"]
    assert stage["questdb"] == stage["kafka"] == stage["redis"] == max(stage.values())


def test_each_source_has_its_own_folder() -> None:
    def folders(source: str) -> set[str]:
        settings = load_settings(_env_file=None, source=source)
        state = str(layout(settings).state)
        return {state} | {part for p in processes(settings, layout(settings)) for part in p.command if state in part}

    assert not folders("kraken") & folders("simulator")


def test_recorded_source_is_what_every_command_reads(tmp_path: Path) -> None:
    (tmp_path / "source").write_text("kraken\n")
    assert load_settings(_env_file=None, var_dir=tmp_path).source == "kraken"
    assert load_settings(_env_file=None, var_dir=tmp_path, source="simulator").source == "simulator"


def test_commands_hold_no_secret() -> None:
    fields = {name: "s3cret" for name in Settings.model_fields if name.endswith(("password", "token", "secret_key"))}
    settings = load_settings(_env_file=None, **fields)
    assert fields
    for process in processes(settings, layout(settings), full=True):
        assert "s3cret" not in " ".join((*process.command, *process.environment.values()))
