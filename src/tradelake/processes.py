"""``tradelake run``: the processes of the lake, one each, until stopped."""

import importlib
from collections.abc import Callable
from typing import Any

import click

from lakehouse.errors import LakeError
from tradelake.conventions import DocumentedCommand, lake_settings, process_command, report


@click.group("run")
def run() -> None:
    """Run one process of the lake until stopped; `tradelake up` runs all of them."""


def _process(name: str, module: str, metrics_port: str | None, about: str) -> DocumentedCommand:
    def start() -> None:
        from lakehouse import process

        main = importlib.import_module(module).main
        process.run(main, None if metrics_port is None else lambda settings: int(getattr(settings, metrics_port)))

    start.__doc__ = about
    return process_command(name, f"tradelake run {name}")(start)


for _row in (
    ("producer", "ingestion.produce", "producer_metrics_port", "Read the market and publish it to Kafka."),
    ("consumer", "ingestion.consume", "consumer_metrics_port", "Write Kafka's events to bronze, silver and Redis."),
    ("api", "forecast.serve", None, "Serve forecasts and the live page over HTTP."),
    ("predictor", "downstream.predictor", "predictor_metrics_port", "Store a forecast for every feature row."),
    ("score", "forecast.score", "score_metrics_port", "Score forecasts against what happened."),
    (
        "simulator",
        "ingestion.simulator.simulate",
        "simulator_metrics_port",
        "Serve the simulated Kraken; `tradelake simulate` has options.",
    ),
):
    run.add_command(_process(*_row))


@process_command("mlflow", "tradelake run mlflow --full")
@click.option("--full", is_flag=True, help="Store metadata in PostgreSQL and artifacts in the object store.")
@click.pass_context
def mlflow(context: click.Context, full: bool) -> None:
    """Serve MLflow: runs, models, artifacts."""
    from stack.servers.mlflow_server import serve

    _plainly(context, lambda settings: serve(settings, full))


@process_command("airflow", "tradelake run airflow scheduler")
@click.argument("command", type=click.Choice(("api-server", "scheduler", "dag-processor")))
@click.pass_context
def airflow(context: click.Context, command: str) -> None:
    """Run one of Airflow's processes."""
    from stack.servers.airflow import execute

    _plainly(context, lambda settings: execute(settings, command))


@process_command("buckets", "tradelake run buckets")
@click.pass_context
def buckets(context: click.Context) -> None:
    """Create the object store's buckets and users once it is up, then exit."""
    from stack.servers.buckets import ensure

    _plainly(context, ensure)


@process_command("alert-receivers", "tradelake run alert-receivers")
@click.pass_context
def alert_receivers(context: click.Context) -> None:
    """Write Alertmanager's configuration into VAR_DIR, once, before it starts."""
    from stack.servers.monitoring import write_receivers

    _plainly(context, lambda settings: write_receivers(settings, settings.var_dir))


def _plainly(context: click.Context, work: Callable[[Any], None]) -> None:
    """Settings and logs, then ``work``, which has its own way to be stopped."""
    try:
        work(lake_settings())
    except LakeError as error:
        context.exit(report(error))


for _command in (mlflow, airflow, buckets, alert_receivers):
    run.add_command(_command)

COMMANDS: tuple[click.Command, ...] = (run,)
