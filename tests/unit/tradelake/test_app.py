"""Conventions that hold for every command: help with an example, usage errors, light imports, one exit status each."""

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from lakehouse.stores import kafka
from stack.envfile import child_environment
from tests.support.servers import scratch_settings
from tradelake.app import cli

PACKAGES = ("ingestion", "forecast", "downstream", "stack", "features", "formats")
HEAVY = ("polars", "numba", "numpy", "pandas", "mlflow", "xgboost", "confluent_kafka", "questdb", "flask", "pydantic")


def leaves(group: click.Group, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], click.Command]]:
    """Every command that does something, with the words that call it."""
    for name, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from leaves(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = list(leaves(cli))
IDS = [" ".join(path) for path, _ in COMMANDS]


WANTED = """
up down status logs sql run backfill repair rebuild migrate accept-loss dead-letters simulate train evaluate models
quality replay score-once inspect backup restore drill retention client docs env-example task-result
"""


def test_every_command_is_there() -> None:
    assert set(WANTED.split()) == set(cli.commands)
    assert {"dead-letters list", "dead-letters replay", "models init", "models list", "models promote"} <= set(IDS)
    assert {"models rollback", "client ohlc", "run producer", "run consumer", "run api", "run predictor"} <= set(IDS)


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=IDS)
def test_help_says_what_it_does_and_gives_an_example(path: tuple[str, ...], command: click.Command) -> None:
    done = CliRunner().invoke(cli, [*path, "--help"])
    assert done.exit_code == 0
    assert command.help and command.help[0].isupper()
    example = done.stdout.split("Examples:\n")[1]
    for line in example.splitlines():
        assert line == f"  {line.strip()}" and f"tradelake {' '.join(path)}" in line


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=IDS)
def test_options_of_an_example_exist(path: tuple[str, ...], command: click.Command) -> None:
    known = {name for param in command.params for name in (*param.opts, *param.secondary_opts)}
    with click.Context(command) as context:
        text = command.get_help(context).split("Examples:\n")[1]
    assert {word for word in text.split() if re.match("--?[a-z]", word)} <= known


@pytest.mark.parametrize(("path", "_command"), COMMANDS, ids=IDS)
def test_an_unknown_option_is_a_usage_error(path: tuple[str, ...], _command: click.Command) -> None:
    done = CliRunner().invoke(cli, [*path, "--no-such-option"])
    assert (done.exit_code, done.stdout) == (2, "")
    assert "No such option" in done.stderr.splitlines()[-1] and "--no-such-option" in done.stderr


@pytest.mark.parametrize(("path", "command"), COMMANDS, ids=IDS)
def test_what_has_a_result_has_it_as_json(path: tuple[str, ...], command: click.Command) -> None:
    until_stopped = path[0] in ("run", "simulate", "logs")
    assert until_stopped != any("--json" in param.opts for param in command.params)


def test_the_command_line_imports_no_package_of_the_lake_and_no_heavy_library() -> None:
    code = f"""
import sys, tradelake.app
heavy = [m for m in {HEAVY!r} if m in sys.modules]
ours = [m for m in sys.modules if m.split('.')[0] in {PACKAGES!r}]
assert not heavy + ours, heavy + ours
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["dead-letters", "list"], 1),
        (["accept-loss"], 1),
        (["rebuild", "--symbol", "BTC/USD"], 1),
        (["repair"], 1),
        (["backup"], 1),
        (["client", "ohlc", "--symbol", "BTC/USD"], 1),
        (["sql", "SELECT 1"], 1),
        (["status"], 3),
        (["logs", "nobody"], 3),
    ],
    ids=lambda value: value[0] if isinstance(value, list) else "",
)
def test_a_server_that_is_away_is_one_line(
    arguments: list[str], status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in child_environment(scratch_settings(tmp_path)).items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(kafka, "TIMEOUT_S", 0.5)
    done = CliRunner().invoke(cli, arguments)
    assert (done.exit_code, done.stdout) == (status, "")
    assert done.stderr.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in done.stderr


def test_a_wrong_setting_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SYMBOLS", "bitcoin")
    done = CliRunner().invoke(cli, ["backup"])
    assert done.exit_code == 3
    assert len(done.stderr.splitlines()) == 1 and "SYMBOLS" in done.stderr
