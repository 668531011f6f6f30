"""Commands that fill and mend the lake: backfill, repair, rebuild, migrate, dead-letters, accept-loss, simulate."""

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
    "--symbol", "symbols", type=SYMBOL, multiple=True, required=True, help="E.g. BTC/USD; with --since, repeat it."
)
@click.option("--file", "trades", type=FILE, help="Trades in any format; see `tradelake inspect`.")
@click.option("--quotes", type=FILE, help="Best quotes with their quantities in any format.")
@file_options
@click.option("--since", type=TIME, help="Fetch Kraken's history from this day (or time, UTC) on.")
@click.option("--until", type=TIME, help="Up to this one, exclusive; by default now.")
@click.option("--no-rebuild", is_flag=True, help="Bronze only; the next run without this makes the silver rows.")
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

    Run the same command again after an interruption: it goes on where it was.
    """
    from formats.refusal import PLAIN
    from ingestion.backfill.job import FileSource, HistorySource
    from ingestion.backfill.job import backfill as load

    if (trades or quotes) and (since or until or len(symbols) != 1):
        raise click.UsageError("a file wants exactly one --symbol, and neither --since nor --until")
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
    """Fetch trades still missing and rebuild the silver rows behind them; status 3 if ids stay missing."""
    from ingestion.repair import repaired

    return repaired(lake_settings(), stop)


@command(
    "rebuild",
    "tradelake rebuild --symbol BTC/USD\ntradelake rebuild --symbol BTC/USD --from 2026-10-01 --to 2026-10-08",
)
@click.option("--symbol", required=True, help="As in bronze, e.g. BTC/USD.")
@click.option(
    "--from", "start", type=TIME, help="UTC, e.g. 2026-10-01 or 2026-10-01T12:00:00Z; by default all of bronze."
)
@click.option("--to", "end", type=TIME, help="UTC, exclusive.")
def rebuild(symbol: str, start: datetime | None, end: datetime | None) -> object:
    """Make silver rows anew from bronze.

    Stopped in between, finished runs stay: go on from the end of the last one, which the log names, with --from.
    """
    from ingestion.silver.rebuild import rebuild_between

    return rebuild_between(lake_settings(), symbol, start, end)


@command("migrate", "tradelake migrate")
@click.pass_obj
def migrate(stop: threading.Event) -> object:
    """Create or update tables, views and topics; prints what changed."""
    from ingestion.migrate import migrate_lake

    return migrate_lake(lake_settings(), stop)


@command("accept-loss", "tradelake accept-loss")
def accept_loss() -> object:
    """Go on with what Kafka has after it lost messages; stop every consumer first."""
    from ingestion.consumer.start_offsets import accept_loss as accept

    return accept(lake_settings())


@click.group("dead-letters")
def dead_letters() -> None:
    """Messages that were set aside: list, replay."""


@command("list", "tradelake dead-letters list --limit 20")
@click.option("--limit", type=click.IntRange(min=0), help="At most this many, oldest first.")
@click.option("--id", "ids", type=int, multiple=True, help="This letter; may be repeated.")
def list_letters(limit: int | None, ids: tuple[int, ...]) -> CommandResult:
    """Show letters, a line each: number, time, state, reason, origin, payload, detail."""
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
@click.option("--payload", help="The event instead, as JSON; needs one --id.")
def replay_letters(limit: int | None, ids: tuple[int, ...], payload: str | None) -> CommandResult:
    """Send letters again that are acceptable now; status 3 when one is kept."""
    from ingestion.dead_letters.listing import pending, read_all
    from ingestion.dead_letters.replaying import replay_all

    if payload is not None and len(ids) != 1:
        raise click.UsageError("--payload: name the one letter that it replaces with --id")
    settings = lake_settings()
    letters = pending(read_all(settings), ids, limit)
    done = replay_all(settings, letters, None if payload is None else payload.encode())
    kept = sum(one.kept for one in done)
    click.echo(f"{len(done) - kept} of {len(done)} letters sent again, {kept} kept", err=True)
    text = "\n".join(f"{one.number}\t{'kept: ' if one.kept else ''}{one.detail}" for one in done)
    return CommandResult(done, text, ExitStatus.REFUSED if kept else ExitStatus.OK)


dead_letters.add_command(list_letters)
dead_letters.add_command(replay_letters)


@process_command(
    "simulate",
    """SIMULATOR_EVENTS_PER_S=200 tradelake simulate --faults faults.json
    tradelake simulate --trades trades.parquet --quotes quotes.parquet --symbol BTC/USD --speed 10""",
)
@click.option("--faults", type=FILE, help="Fault script (JSON); by default that of SIMULATOR_FAULTS.")
@click.option("--rest-burst", type=POSITIVE, help="REST calls at once before the throttle.")
@click.option("--behind", type=SECONDS, default=0.0, help="Serve the market as it was so many seconds ago.")
@click.option("--trades", type=FILE, help="Replay this file of trades, in any format, instead of a simulated market.")
@click.option("--quotes", type=FILE, help="And this one of quotes.")
@file_options
@click.option("--symbol", type=SYMBOL, default="BTC/USD", show_default=True, help="Name of the replayed pair.")
@click.option("--speed", type=POSITIVE, default=1.0, help="How much faster than recorded.")
@click.option("--anchor", help="When the recording begins, e.g. 2026-01-01T00:00:00Z; by default now.")
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
    """Serve a local Kraken over a simulated or a recorded market until stopped."""
    from ingestion.simulator.server import REST_BURST
    from ingestion.simulator.simulate import Recording, SimulatorOptions, main
    from lakehouse import process

    if quotes and not trades:
        raise click.UsageError("--quotes go with --trades: a recording wants both, or trades alone")
    recording = Recording(trades, quotes, symbol, speed, anchor, reading) if trades else None
    options = SimulatorOptions(faults, REST_BURST if rest_burst is None else rest_burst, behind, recording)
    process.run(lambda settings, stop: main(settings, stop, options), lambda settings: settings.simulator_metrics_port)


COMMANDS: tuple[click.Command, ...] = (backfill, repair, rebuild, migrate, dead_letters, accept_loss, simulate)
