"""Serves a simulated or a replayed market as a local Kraken on the settings' port."""

import threading
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from formats.refusal import PLAIN, ReadOptions
from ingestion.kraken.ws_messages import parse_time
from ingestion.simulator.blocks import Ledger
from ingestion.simulator.faults import Script
from ingestion.simulator.market import Market, micros
from ingestion.simulator.server import REST_BURST, Simulator, serve_until, wall_clock_us
from lakehouse.errors import FatalError, PoisonError
from lakehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class Recording:
    """A recorded market to replay.

    Attributes:
        symbol: the pair's name, here and, unless ``options.pair`` says otherwise, in the files.
        speed: how much faster than recorded.
        anchor: when it begins, RFC 3339; None: now.
        options: what the user says about the files.
    """

    trades: Path
    quotes: Path | None = None
    symbol: str = "BTC/USD"
    speed: float = 1.0
    anchor: str | None = None
    options: ReadOptions = PLAIN


@dataclass(frozen=True, slots=True)
class SimulatorOptions:
    """What the settings do not say.

    Attributes:
        faults: fault script (JSON); None: that of SIMULATOR_FAULTS.
        rest_burst: REST calls at once before the throttle.
        behind_s: how long ago the market served is.
        recording: replayed instead of the simulated market.
    """

    faults: Path | None = None
    rest_burst: float = REST_BURST
    behind_s: float = 0.0
    recording: Recording | None = None


def main(settings: Settings, stop: threading.Event, options: SimulatorOptions = SimulatorOptions()) -> None:
    """Builds the market and the faults, and serves them until ``stop`` is set."""
    path = options.faults or settings.simulator_faults
    script = Script.load(Path(path)) if path else Script()
    behind_us: int = round(options.behind_s * 1e6)

    def now_us() -> int:
        return wall_clock_us() - behind_us

    ledger = _replay(options.recording, now_us()) if options.recording else _market(settings)
    simulator = Simulator(ledger, script, options.rest_burst, now_us)
    serve_until(stop, simulator, settings.bind_host, settings.simulator_port)


def _market(settings: Settings) -> Ledger:
    genesis = _time("SIMULATOR_GENESIS", settings.simulator_genesis)
    if genesis >= datetime.now(UTC):
        raise FatalError(f"SIMULATOR_GENESIS: {settings.simulator_genesis} is in the future; want a past time")
    return Market(settings.simulator_seed, settings.simulator_events_per_s, genesis)


def _replay(recording: Recording, now_us: int) -> Ledger:
    # Only a replay needs polars, which takes as much memory as everything else.
    from formats.frames import read_quotes, read_trades
    from ingestion.simulator.replay import Replay

    options = replace(recording.options, sizes=True)
    trades = read_trades(recording.trades, recording.symbol, options)
    quotes = read_quotes(recording.quotes, recording.symbol, options) if recording.quotes else None
    anchor_us = micros(_time("--anchor", recording.anchor)) if recording.anchor else now_us
    return Replay(trades, quotes, recording.symbol, anchor_us, recording.speed)


def _time(name: str, text: str) -> datetime:
    try:
        return parse_time(text)
    except PoisonError as error:
        raise FatalError(f"{name}: {error}") from None
