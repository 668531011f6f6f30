"""The command inspect, and the options by which every command that reads a file is told what the file does not say."""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from tradelake.conventions import CommandResult, command
from tradelake.statuses import ExitStatus
from tradelake.values import COLUMNS, ZONE

if TYPE_CHECKING:
    from formats.refusal import ReadOptions

FILE = click.Path(path_type=Path)
R = TypeVar("R")


def file_options(function: Callable[..., R]) -> Callable[..., R]:
    """Adds ``--pair``, ``--columns``, ``--tz`` and ``--date-order``; the command gets them as ``reading``."""

    @click.option("--pair", help="Name of the symbol in the file if it differs, e.g. XBTUSD.")
    @click.option("--columns", type=COLUMNS, help="Columns of the fields, e.g. ts=created_time,price=px.")
    @click.option("--tz", type=ZONE, help="Time zone of times without one, e.g. UTC or Europe/Berlin.")
    @click.option("--date-order", type=click.Choice(("dmy", "mdy", "ymd")), help="Order of dates such as 05/03/2024.")
    @functools.wraps(function)
    def gathered(*positional: Any, pair: Any, columns: Any, tz: Any, date_order: Any, **named: Any) -> R:
        from formats.refusal import ReadOptions

        reading = ReadOptions(pair=pair, columns=columns or {}, tz=tz, date_order=date_order)
        return function(*positional, reading=reading, **named)

    return gathered


@command(
    "inspect",
    """tradelake inspect trades.csv.gz
    tradelake inspect Kraken_Trading_History.zip --symbol ETH/USD --json
    tradelake inspect export.csv --columns ts=created_time,price=px --tz Europe/Berlin --date-order dmy""",
)
@click.argument("files", nargs=-1, required=True, type=FILE, metavar="FILE...")
@click.option("--symbol", help="Symbol to read if a file or archive holds several, e.g. BTC/USD.")
@file_options
def inspect(files: tuple[Path, ...], symbol: str | None, reading: "ReadOptions") -> CommandResult:
    """Show how the lake reads files and what backfill and evaluate would do with them.

    Needs no server. Exit status 3 if a file is refused.
    """
    from dataclasses import replace

    from formats.inspect import as_text
    from formats.inspect import inspect as read

    found = {str(path): read(path, replace(reading, symbol=symbol)) for path in files}
    text = "\n".join(as_text(name, facts) for name, facts in found.items())
    refused = any(facts["refused"] for facts in found.values())
    return CommandResult(found, text, ExitStatus.REFUSED if refused else ExitStatus.OK)


COMMANDS: tuple[click.Command, ...] = (inspect,)
