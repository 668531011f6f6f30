"""Commands that fill and repair the lake: backfill, repair, rebuild, migrate, dead-letters, accept-loss, simulate."""

import threading
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tradelake.conventions import CommandResult, command, lake_settings, process_command
from tradelake.files import FILE, file_options
from tradelake.statuses import ExitStatus
from tradelake.values import POSITIVE, SECONDS, SYMBOL, TIME

if TYPE_CHECKING:
    from formats.refusal import ReadOptions


@command(
    "backfill",
    """tradelake backfill --file trades.parquet --quotes quotes.parquet --symbol BTC/USD
    tradelake backfill --file Kraken_Trading_History.zip --symbol ETH/USD
    tradelake backfill --file exchange.csv --pair BTCUSD --symbol BTC/USD
    tradelake backfill --symbol BTC/USD --symbol ETH/USD --since 2026-10-01 --until 2026-11-01""",
)
@click.option(
    "--symbol",
    "symbols",
    type=SYMBOL,
    multiple=True,
    required=True,
    help="Symbol, e.g. BTC/USD; repeatable with --since.",
)
@click.option("--file", "trades", type=FILE, help="Trades in any format; see `tradelake inspect`.")
@click.option("--quotes", type=FILE, help="Best quotes with their quantities in any format.")
@file_options
@click.option("--since", type=TIME, help="Fetch Kraken's history from this UTC day or time on.")
@click.option("--until", type=TIME, help="End of that history, exclusive; by default now.")
@click.option("--no-rebuild", is_flag=True, help="Bronze only; the next run without this option adds the silver rows.")
@click.pass_obj
def backfill(
    stop: threading.Event,
    symbols: tuple[str, ...],
    trades: Path | None,
    quotes: Path | None,
    since: datetime | None,
    until: datetime | None,
    no_rebuild: bool,
    reading: "ReadOptions",
) -> None:
    """Load a file, or Kraken's history, into the running lake.

    After an interruption, run the same command again: it continues where it stopped.
    """
    from formats.refusal import PLAIN
    from ingestion.backfill.job import FileSource, HistorySource
    from ingestion.backfill.job import backfill as load

    if (trades or quotes) and (since or until or len(symbols) != 1):
        raise click.UsageError("a file needs exactly one --symbol, and neither --since nor --until")
    if since is None:
        if not (trades or quotes):
            raise click.UsageError("say what to load: --file (and/or --quotes), or --since for Kraken's own history")
        load(lake_settings(), FileSource(symbols[0], trades, quotes, reading), stop, not no_rebuild)
        return
    if reading != PLAIN:
        raise click.UsageError(
            "--pair says what a file calls the symbol, --columns, --tz and --date-order how it is read; "
            "Kraken's own history needs --symbol only"
        )
    if since >= (until or datetime.now(UTC)):
        raise click.UsageError("--since must lie before --until (by default: now)")
    load(lake_settings(), HistorySource(symbols, since, until), stop, not no_rebuild)


@command("repair", "tradelake repair")
@click.pass_obj
def repair(stop: threading.Event) -> object:
    """Fetch missing trades and rebuild the affected silver rows. Exit status 3 if ids stay missing."""
    from ingestion.repair import repaired

    return repaired(lake_settings(), stop)


@command(
    "rebuild",
    "tradelake rebuild --symbol BTC/USD\ntradelake rebuild --symbol BTC/USD --from 2026-10-01 --to 2026-10-08",
)
@click.option("--symbol", required=True, help="Symbol as in bronze, e.g. BTC/USD.")
@click.option(
    "--from",
    "start",
    type=TIME,
    help="Start in UTC, e.g. 2026-10-01 or 2026-10-01T12:00:00Z; by default all of bronze.",
)
@click.option("--to", "end", type=TIME, help="End in UTC, exclusive.")
def rebuild(symbol: str, start: datetime | None, end: datetime | None) -> object:
    """Rebuild silver rows from bronze.

    An interruption keeps finished runs: continue with --from at the end of the last one, which the log names.
    """
    from ingestion.silver.rebuild import rebuild_between

    return rebuild_between(lake_settings(), symbol, start, end)


@command("migrate", "tradelake migrate")
@click.pass_obj
def migrate(stop: threading.Event) -> object:
    """Create or update tables, views and topics, and print the changes."""
    from ingestion.migrate import migrate_lake

    return migrate_lake(lake_settings(), stop)


@command("accept-loss", "tradelake accept-loss")
def accept_loss() -> object:
    """Continue from what Kafka still holds after a loss. Stop every consumer first."""
    from ingestion.consumer.start_offsets import accept_loss as accept

    return accept(lake_settings())


@click.group("dead-letters")
def dead_letters() -> None:
    """List or replay the messages that the lake could not accept."""


@command("list", "tradelake dead-letters list --limit 20")
@click.option("--limit", type=click.IntRange(min=0), help="At most this many, oldest first.")
@click.option("--id", "ids", type=int, multiple=True, help="This letter; may be repeated.")
def list_letters(limit: int | None, ids: tuple[int, ...]) -> CommandResult:
    """List dead letters, one per line: number, time, state, reason, origin, payload, detail."""
    from ingestion.dead_letters.listing import pending, read_all

    found = read_all(lake_settings())
    shown = pending(found, ids, limit) if ids else found[:limit]
    return CommandResult([one.as_json() for one in shown], "\n".join(one.line() for one in shown))


@command(
    "replay",
    "tradelake dead-letters replay\n"
    """tradelake dead-letters replay --id 7 --payload '{"type":"trade","symbol":"BTC/USD",…}'""",
)
@click.option("--limit", type=click.IntRange(min=0), help="At most this many, oldest first.")
@click.option("--id", "ids", type=int, multiple=True, help="This letter; may be repeated.")
@click.option("--payload", help="Corrected event as JSON to send instead; needs one --id.")
def replay_letters(limit: int | None, ids: tuple[int, ...], payload: str | None) -> CommandResult:
    """Send dead letters again that parse now. Exit status 3 if one is kept."""
    from ingestion.dead_letters.listing import pending, read_all
    from ingestion.dead_letters.replaying import replay_all

    if payload is not None and len(ids) != 1:
        raise click.UsageError("--payload replaces one dead letter: name it with --id")
    settings = lake_settings()
    letters = pending(read_all(settings), ids, limit)
    done = replay_all(settings, letters, None if payload is None else payload.encode())
    kept = sum(one.kept for one in done)
    click.echo(f"{len(done) - kept} of {len(done)} dead letters sent again, {kept} kept", err=True)
    text = "\n".join(f"{one.number}\t{'kept: ' if one.kept else ''}{one.detail}" for one in done)
    return CommandResult(done, text, ExitStatus.REFUSED if kept else ExitStatus.OK)


dead_letters.add_command(list_letters)
dead_letters.add_command(replay_letters)


@process_command(
    "simulate",
    """SIMULATOR_EVENTS_PER_S=200 tradelake simulate --faults faults.json
    tradelake simulate --trades trades.parquet --quotes quotes.parquet --symbol BTC/USD --speed 10""",
)
@click.option("--faults", type=FILE, help="Fault script (JSON); by default SIMULATOR_FAULTS.")
@click.option("--rest-burst", type=POSITIVE, help="Number of REST calls in a burst before throttling.")
@click.option("--behind", type=SECONDS, default=0.0, help="Serve the market as it was this many seconds ago.")
@click.option("--trades", type=FILE, help="Replay this file of trades, in any format, instead of a simulated market.")
@click.option("--quotes", type=FILE, help="Replay this file of best quotes, too; needs --trades.")
@file_options
@click.option("--symbol", type=SYMBOL, default="BTC/USD", show_default=True, help="Symbol of the replayed pair.")
@click.option("--speed", type=POSITIVE, default=1.0, help="Replay speed relative to the recording.")
@click.option("--anchor", help="Start time of the replay, e.g. 2026-01-01T00:00:00Z; by default now.")
def simulate(
    faults: Path | None,
    rest_burst: float | None,
    behind: float,
    trades: Path | None,
    quotes: Path | None,
    symbol: str,
    speed: float,
    anchor: str | None,
    reading: "ReadOptions",
) -> None:
    """Serve a local Kraken with a simulated or a recorded market until stopped."""
    from ingestion.simulator.server import REST_BURST
    from ingestion.simulator.simulate import Recording, SimulatorOptions, main
    from lakehouse import process

    if quotes and not trades:
        raise click.UsageError("--quotes needs --trades: a recording has both, or trades alone")
    recording = Recording(trades, quotes, symbol, speed, anchor, reading) if trades else None
    options = SimulatorOptions(faults, REST_BURST if rest_burst is None else rest_burst, behind, recording)
    process.run(lambda settings, stop: main(settings, stop, options), lambda settings: settings.simulator_metrics_port)


COMMANDS: tuple[click.Command, ...] = (backfill, repair, rebuild, migrate, dead_letters, accept_loss, simulate)
