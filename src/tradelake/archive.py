"""Commands over the object store, and the reader of the lake: backup, restore, drill, retention, client."""

from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from tradelake.conventions import CommandResult, LakeCommand, command, lake_settings
from tradelake.values import DAY, TIME

INTERVALS = ("1m", "5m", "15m", "1h", "1d")


@command("backup", "tradelake backup\ntradelake backup --day 2026-01-05")
@click.option("--day", type=DAY, help="This UTC day only; by default every whole day that differs from its backup.")
def backup(day: date | None) -> object:
    """Back up whole UTC days to the object store and verify them by reading them back."""
    from downstream.backup import back_up

    return back_up(lake_settings(), day)


@command("restore", "tradelake restore --day 2026-01-05 --into scratch_\ntradelake restore --all")
@click.option("--day", type=DAY, help="UTC day to restore.")
@click.option("--all", "everything", is_flag=True, help="Every day of every table, e.g. on an empty machine.")
@click.option(
    "--into", metavar="PREFIX", default="", help="Restore into tables PREFIX + name instead of the live ones."
)
def restore(day: date | None, everything: bool, into: str) -> object:
    """Restore days from their backup; into live tables only while no consumer runs."""
    from downstream.restore import restore_lake

    if everything == (day is not None):
        raise click.UsageError("give either --day or --all")
    return restore_lake(lake_settings(), day, into)


@command("drill", "tradelake drill\ntradelake drill --day 2026-01-05")
@click.option("--day", type=DAY, help="UTC day to restore; by default a random one.")
def drill(day: date | None) -> object:
    """Restore a day beside the live tables, compare both, and clean up."""
    from downstream.drill import run_drill

    return run_drill(lake_settings(), day)


@command("retention", "RETENTION_DAYS=90 tradelake retention")
def retention() -> object:
    """Remove days older than RETENTION_DAYS from QuestDB once their backup is verified."""
    from downstream.retention import retain

    return retain(lake_settings())


@click.group("client")
def client() -> None:
    """Read the lake as a table or export it to Parquet."""


def _reader(kind: str, about: str) -> LakeCommand:
    @click.option("--symbol", required=True, help="Symbol as in SYMBOLS, e.g. BTC/USD.")
    @click.option("--from", "start", type=TIME, help="Start in UTC; by default an hour before --to.")
    @click.option("--to", "end", type=TIME, help="End in UTC, exclusive; by default now.")
    @click.option("--out", type=click.Path(path_type=Path), help="Write Parquet to this path instead of printing rows.")
    def read(
        symbol: str, start: datetime | None, end: datetime | None, out: Path | None, interval: str = ""
    ) -> CommandResult:
        end = end or datetime.now(UTC)
        return _read(kind, symbol, start or end - timedelta(hours=1), end, out, *([interval] if interval else []))

    read.__doc__ = about
    callback: Callable[..., Any] = read
    if kind == "ohlc":
        callback = click.option("--interval", type=click.Choice(INTERVALS), default="1m", show_default=True)(read)
    span = "--from 2026-01-31 --to 2026-02-01"
    return command(kind, f"tradelake client {kind} --symbol BTC/USD {span} --out {kind}.parquet")(callback)


def _read(kind: str, symbol: str, start: datetime, end: datetime, out: Path | None, *interval: str) -> CommandResult:
    import polars as pl

    from downstream.client import Client

    with Client() as lake:
        frame: pl.DataFrame = getattr(lake, kind)(symbol, start, end, *interval)
    if out is not None:
        frame.write_parquet(out)
        return CommandResult({"rows": frame.height, "file": str(out)}, f"{frame.height} rows in {out}")
    with pl.Config(tbl_rows=20, tbl_cols=12, tbl_hide_dataframe_shape=True):
        return CommandResult(frame.to_dicts, f"{frame}\n{frame.height} rows")


for _kind, _about in (
    ("ohlc", "Read candles."),
    ("features", "Read the feature rows used for training."),
    ("forecasts", "Read all forecasts served."),
    ("scores", "Read all scored forecasts with the outcome."),
):
    client.add_command(_reader(_kind, _about))

COMMANDS: tuple[click.Command, ...] = (backup, restore, drill, retention, client)
