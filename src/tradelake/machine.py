"""Commands that run the lake on this machine: up, down, status, logs, sql."""

import os

import click

from tradelake.conventions import CommandResult, command, process_command, report
from tradelake.statuses import ExitStatus


@command("up", "tradelake up --source simulator\ntradelake up --full")
@click.option(
    "--source",
    type=click.Choice(("auto", "kraken", "simulator")),
    default="auto",
    help="The lake's market; auto: Kraken if it answers, else the simulator.",
)
@click.option(
    "--full",
    is_flag=True,
    help="Also object store, Airflow and, if installed, PostgreSQL, Prometheus and Alertmanager.",
)
def up(source: str, full: bool) -> CommandResult:
    """Start the lake and wait until it is healthy and data flows."""
    from stack.commands.up import up as start

    started = start(source, full, _progress)
    return CommandResult(started.status.as_json(), started.text)


@command("down", "tradelake down")
def down() -> None:
    """Stop the lake without losing data."""
    from lakehouse.settings import load_settings
    from stack.commands.local_lake import stop_all

    stop_all(load_settings(), _progress)


@command("status", "tradelake status\ntradelake status --json\ntradelake status --secrets")
@click.option("--secrets", is_flag=True, help="Show users and passwords instead of the state.")
def status(secrets: bool) -> CommandResult:
    """Show the state of processes and tables. Exit status 3 if something is wrong, with a line for each fault."""
    from lakehouse.settings import load_settings
    from stack.commands import formatting
    from stack.commands.local_lake import running_report

    settings = load_settings()
    if secrets:
        shown = formatting.secrets(settings)
        return CommandResult(shown.splitlines(), shown)
    found = running_report(settings)
    well = found.healthy and not found.faults
    return CommandResult(found.as_json(), formatting.status(found), ExitStatus.OK if well else ExitStatus.REFUSED)


@process_command("logs", "tradelake logs consumer -f")
@click.argument("process")
@click.option("-f", "--follow", is_flag=True, help="Keep printing new lines.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=100, show_default=True, help="Number of lines from the end."
)
@click.pass_context
def logs(context: click.Context, process: str, follow: bool, lines: int) -> None:
    """Show the log of one process, by its name in `tradelake status`."""
    from lakehouse.errors import LakeError
    from lakehouse.settings import load_settings
    from stack.commands.local_lake import log_of

    try:
        path = log_of(load_settings(), process)
    except LakeError as error:
        context.exit(report(error))
    os.execvp("tail", ["tail", "-n", str(lines), *(["-F"] if follow else []), str(path)])  # noqa: S606


@command("sql", 'tradelake sql "SELECT * FROM gold_ohlc_1m LIMIT -5"')
@click.argument("query")
def sql(query: str) -> CommandResult:
    """Run one SQL query as the read-only user."""
    from contextlib import closing

    from lakehouse.settings import load_settings
    from lakehouse.stores.questdb import QuestDB
    from lakehouse.text_table import columns
    from tradelake.tables import cell

    with closing(QuestDB(load_settings(), readonly=True)) as database:
        names, rows = database.table(query)
    text = columns([names, *([cell(value) for value in row] for row in rows)]) if names else "done"
    return CommandResult([dict(zip(names, row, strict=True)) for row in rows], text)


def _progress(text: str) -> None:
    click.echo(text, err=True)


COMMANDS: tuple[click.Command, ...] = (up, down, status, logs, sql)
