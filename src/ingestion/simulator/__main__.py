"""The simulator process: a local Kraken on the configured port (`python -m ingestion.simulator --help`)."""

import argparse
import math
import threading
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from ingestion.kraken.rest_messages import check_symbol
from ingestion.kraken.ws_messages import parse_time
from ingestion.simulator.blocks import Ledger
from ingestion.simulator.faults import Script
from ingestion.simulator.market import Market, micros
from ingestion.simulator.server import REST_BURST, Simulator, serve_until, wall_clock_us
from lakehouse import process
from lakehouse.errors import FatalError, PoisonError
from lakehouse.settings import Settings


def main(settings: Settings, stop: threading.Event, args: argparse.Namespace) -> None:
    """Builds the market and the faults, and serves them until ``stop`` is set."""
    path = args.faults or settings.simulator_faults
    script = Script.load(Path(path)) if path else Script()
    behind_us: int = round(args.behind * 1e6)

    def now_us() -> int:
        return wall_clock_us() - behind_us

    ledger = _replay(args, now_us()) if args.trades else _market(settings)
    serve_until(stop, Simulator(ledger, script, args.rest_burst, now_us), settings.bind_host, settings.simulator_port)


def _market(settings: Settings) -> Ledger:
    genesis = _time("SIMULATOR_GENESIS", settings.simulator_genesis)
    if genesis >= datetime.now(UTC):
        raise FatalError(f"SIMULATOR_GENESIS: {settings.simulator_genesis} is in the future; want a past time")
    return Market(settings.simulator_seed, settings.simulator_events_per_s, genesis)


def _replay(args: argparse.Namespace, now_us: int) -> Ledger:
    # Only a replay needs polars, which takes as much memory as everything else.
    import polars as pl

    from ingestion.simulator.replay import Replay

    try:
        trades = pl.read_parquet(args.trades)
        quotes = pl.read_parquet(args.quotes) if args.quotes else None
    except (OSError, pl.exceptions.PolarsError) as error:
        raise FatalError(f"cannot read the recording: {error}") from None
    anchor_us = micros(_time("--anchor", args.anchor)) if args.anchor else now_us
    return Replay(trades, quotes, args.symbol, anchor_us, args.speed)


def _time(name: str, text: str) -> datetime:
    try:
        return parse_time(text)
    except PoisonError as error:
        raise FatalError(f"{name}: {error}") from None


def parser() -> argparse.ArgumentParser:
    """The command line; all else comes from the settings."""
    options = argparse.ArgumentParser(prog="python -m ingestion.simulator", description=__doc__)
    options.add_argument("--faults", help="fault script (JSON); default: SIMULATOR_FAULTS")
    options.add_argument("--rest-burst", type=float, default=REST_BURST, help="REST calls at once before the throttle")
    options.add_argument("--behind", type=_seconds, default=0.0, help="serve the market as it was so many seconds ago")
    options.add_argument("--trades", type=Path, help="replay this Parquet file of trades instead of the market")
    options.add_argument("--quotes", type=Path, help="replay this Parquet file of quotes as well")
    options.add_argument("--symbol", default="BTC/USD", help="name of the replayed pair")
    options.add_argument("--speed", type=_speed, default=1.0, help="how much faster than recorded")
    options.add_argument("--anchor", help="when the recording begins, e.g. 2026-01-01T00:00:00Z; default: now")
    return options


def parsed(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """Parses the command line; contradictory options end the process with the usage and one line."""
    options = parser()
    args = options.parse_args(arguments)
    if args.quotes and not args.trades:
        options.error("--quotes go with --trades: a recording wants both, or trades alone")
    try:
        check_symbol(args.symbol)
    except FatalError as error:
        options.error(f"--symbol: {error}")
    return args


def _speed(text: str) -> float:
    if (value := _number(text)) > 0:
        return value
    raise argparse.ArgumentTypeError(f"want a number above 0, got {text}")


def _seconds(text: str) -> float:
    if (value := _number(text)) >= 0:
        return value
    raise argparse.ArgumentTypeError(f"want a number of seconds, 0 or more, got {text}")


def _number(text: str) -> float:
    """What the text says; NaN, which no comparison lets pass, for what is no finite number."""
    try:
        value = float(text)
    except ValueError:
        return math.nan
    return value if math.isfinite(value) else math.nan


if __name__ == "__main__":
    chosen = parsed()
    process.run(lambda settings, stop: main(settings, stop, chosen), lambda settings: settings.simulator_metrics_port)
