"""The simulator's process: a local Kraken on the settings' port (`python -m ingestion.simulator --help`)."""

import argparse
import threading
from datetime import UTC, datetime
from pathlib import Path

from ingestion.kraken import parse_time
from ingestion.simulator.faults import Script
from ingestion.simulator.market import Market
from ingestion.simulator.server import REST_BURST, Simulator, serve_until
from lakehouse import process
from lakehouse.errors import FatalError
from lakehouse.settings import Settings


def main(settings: Settings, stop: threading.Event, args: argparse.Namespace) -> None:
    """Builds the market and the faults, and serves them until ``stop`` is set."""
    path = args.faults or settings.simulator_faults
    script = Script.load(Path(path)) if path else Script()
    market = Market(settings.simulator_seed, settings.simulator_events_per_s, _genesis(settings))
    serve_until(stop, Simulator(market, script, args.rest_burst), settings.bind_host, settings.simulator_port)


def _genesis(settings: Settings) -> datetime:
    genesis = parse_time(settings.simulator_genesis)
    if genesis >= datetime.now(UTC):
        raise FatalError(f"SIMULATOR_GENESIS: {settings.simulator_genesis} is in the future; want a time gone by")
    return genesis


if __name__ == "__main__":
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--faults")
    arguments.add_argument("--rest-burst", type=float, default=REST_BURST)
    parsed = arguments.parse_args()
    process.run(lambda settings, stop: main(settings, stop, parsed), lambda settings: settings.simulator_metrics_port)
