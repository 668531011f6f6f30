"""A wrong value of an option is refused before anything happens, with what is wanted; so is what contradicts itself."""

import click
import pytest
from click.testing import CliRunner

from forecast import train
from forecast.model.targets import TARGETS
from forecast.training.walkforward import Schedule
from lakehouse.schema import OHLC_INTERVALS
from lakehouse.task_results import STATES
from stack.servers.airflow import COMMANDS
from tradelake import archive, forecasting, processes, upkeep
from tradelake.app import cli


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("simulate --speed 0", "want a number above 0, got 0"),
        ("simulate --speed nan", "want a number above 0, got nan"),
        ("simulate --speed=-2", "want a number above 0, got -2"),
        ("simulate --speed fast", "want a number above 0, got fast"),
        ("simulate --behind inf", "want a number of seconds"),
        ("simulate --symbol BTCUSD", "did you mean BTC/USD"),
        ("simulate --quotes quotes.parquet", "--quotes needs --trades"),
        ("backfill --symbol ETHUSD --since 2026-01-01", "did you mean ETH/USD?"),
        ("backfill --symbol BTC/USD --symbol eth/usd --since 2026-01-01", "did you mean ETH/USD?"),
        ("backfill --symbol eth/usd --file trades.csv", "did you mean ETH/USD?"),
        ("backfill --symbol ETH/USD", "say what to load"),
        ("backfill --symbol ETH/USD --file t.csv --since 2026-01-01", "neither --since nor --until"),
        ("backfill --symbol ETH/USD --symbol BTC/USD --file t.csv", "exactly one --symbol"),
        ("backfill --symbol ETH/USD --since 2026-01-01 --pair ETHUSD", "--pair says what a file calls"),
        ("backfill --symbol ETH/USD --since 2026-01-02 --until 2026-01-01", "--since must lie before --until"),
        ("client ohlc --symbol BTC/USD --from yesterday", "RFC 3339"),
        ("client ohlc --symbol BTC/USD --interval 2m", "'1m', '5m'"),
        ("backup --day yesterday", "a UTC day, YYYY-MM-DD, got yesterday"),
        ("restore", "give either --day or --all"),
        ("restore --all --day 2026-01-05", "give either --day or --all"),
        ("train --step prepare", "--step needs --folder"),
        ("train --dask tcp://x:1", "--dask needs --lake"),
        ("train --tuning-budget many", "trials (20)"),
        ("dead-letters replay --payload {}", "with --id"),
        ("models promote price 1", "'bid', 'vol'"),
    ],
)
def test_a_command_line_that_makes_no_sense_is_a_usage_error(arguments: str, message: str) -> None:
    done = CliRunner().invoke(cli, arguments.split())
    assert (done.exit_code, done.stdout) == (2, "")
    assert message in done.stderr.splitlines()[-1]


def test_choices_and_defaults_are_those_of_the_packages() -> None:
    # Written down in the command line, so that its help imports none of them.
    assert tuple(OHLC_INTERVALS) == archive.INTERVALS
    assert (forecasting.TARGETS, forecasting.STEPS) == (TARGETS, train.STEPS)
    defaults = {param.name: param.default for param in (*forecasting.train.params, *forecasting.evaluate.params)}
    assert (defaults["days"], defaults["folds"]) == (train.DEFAULT_DAYS, Schedule.folds)
    airflow, task_result = processes.airflow.params[0].type, upkeep.task_result.params[2].type
    assert isinstance(airflow, click.Choice) and tuple(airflow.choices) == tuple(COMMANDS)
    assert isinstance(task_result, click.Choice) and tuple(task_result.choices) == STATES
