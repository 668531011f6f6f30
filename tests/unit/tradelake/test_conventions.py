"""What a command returns or raises becomes output and an exit status, the same way for all."""

from dataclasses import dataclass

import orjson
import pytest
from click.testing import CliRunner, Result

from lakehouse.errors import FatalError, LakeError, NothingToDoError, PoisonError, RetryableError
from tradelake.conventions import CommandResult, command
from tradelake.statuses import ExitStatus


@dataclass(frozen=True)
class Found:
    symbol: str
    rows: int


def run(result: object, *arguments: str) -> Result:
    @command("probe", "tradelake probe")
    def probe() -> object:
        """Probe."""
        if isinstance(result, Exception):
            raise result
        return result

    return CliRunner().invoke(probe, list(arguments))


def test_a_result_is_a_table_for_people_and_json_for_programs() -> None:
    found = [Found("BTC/USD", 5), Found("ETH/USD", 12)]
    assert run(found).stdout.splitlines() == ["symbol   rows", "-------  ----", "BTC/USD  5", "ETH/USD  12"]
    assert orjson.loads(run(found, "--json").stdout) == [
        {"symbol": "BTC/USD", "rows": 5},
        {"symbol": "ETH/USD", "rows": 12},
    ]
    assert run(found, "--json").stdout.count("\n") == 1


def test_a_command_can_say_how_people_read_it_and_how_it_ends() -> None:
    result = CommandResult(lambda: [1, 2], "two", ExitStatus.REFUSED)
    assert (run(result).stdout, run(result).exit_code) == ("two\n", 3)
    assert run(result, "--json").stdout == "[1,2]\n"


def test_no_result_prints_nothing() -> None:
    assert (run(None).stdout, run(None).exit_code) == ("", 0)


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (RetryableError("QuestDB is down"), 1, "error: QuestDB is down"),
        (FatalError("a row\ndiffers"), 3, "error: a row differs"),
        (PoisonError("future", "too far"), 3, "error: future: too far"),
        (LakeError("too few rows"), 3, "error: too few rows"),
        (NothingToDoError("no day yet"), 99, "nothing to do: no day yet"),
    ],
)
def test_an_error_is_one_line_and_its_kind_the_status(error: Exception, status: int, said: str) -> None:
    done = run(error)
    assert (done.exit_code, done.stdout, done.stderr) == (status, "", f"{said}\n")
