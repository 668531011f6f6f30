"""Chooses the market of a lake: once, recorded in ``var/source``, and not changed while the lake runs."""

from typing import Literal

import httpx
import orjson

from lakehouse.errors import FatalError
from lakehouse.settings import Settings

MarketSource = Literal["kraken", "simulator"]
PATIENCE_S = 3.0


def choose(
    asked: str, configured: str | None, recorded: str | None, running: bool, kraken_rest_url: str
) -> tuple[MarketSource, str]:
    """Chooses the market and returns the reason.

    Args:
        asked: ``--source``: kraken, simulator or auto.
        configured: SOURCE of the environment or `.env`, if any.
        recorded: what an earlier start chose, if any.
        running: whether this lake runs now.
        kraken_rest_url: probed when nothing else decides.

    Raises:
        FatalError: the choices contradict each other or the running lake.
    """
    wish = configured if asked == "auto" else asked
    if configured and wish != configured:
        raise FatalError(
            f"--source {asked} contradicts SOURCE={configured} in the environment or .env: drop one of them"
        )
    if running and recorded and wish and wish != recorded:
        raise FatalError(f"the lake runs on {recorded}: run tradelake down before starting another market")
    if wish == "kraken" or (not wish and recorded == "kraken"):
        return "kraken", "the live market"
    if wish == "simulator" or (not wish and recorded == "simulator"):
        return "simulator", "a simulated market: every price is invented"
    if kraken_answers(kraken_rest_url):
        return "kraken", "the live market (Kraken answers)"
    return (
        "simulator",
        f"KRAKEN DOES NOT ANSWER within {PATIENCE_S:g} s, so this is A SIMULATED MARKET: every price is invented",
    )


def kraken_answers(rest_url: str) -> bool:
    """Whether Kraken's REST API reports within seconds that it is online."""
    try:
        answer = httpx.get(f"{rest_url}/SystemStatus", timeout=PATIENCE_S)
        return answer.is_success and answer.json().get("result", {}).get("status") == "online"
    except (httpx.HTTPError, ValueError):
        return False


def market_parameters(settings: Settings, recorded: str | None) -> str:
    """What makes a simulated market this market and no other, as text to record beside the lake's data.

    Raises:
        FatalError: the lake's rows come from a market with other parameters. Its trade ids mean other trades, so live
            ones would be dropped as duplicates or stored beside those of the other market.
    """
    parameters = {
        "SIMULATOR_SEED": settings.simulator_seed,
        "SIMULATOR_EVENTS_PER_S": settings.simulator_events_per_s,
        "SIMULATOR_GENESIS": settings.simulator_genesis,
    }
    held = orjson.loads(recorded) if recorded else parameters
    changed = [f"{name}={held.get(name)} (now {now})" for name, now in parameters.items() if held.get(name) != now]
    if changed:
        raise FatalError(
            f"this lake holds the simulated market of {', '.join(changed)}: restore these settings, "
            "or set VAR_DIR for another lake"
        )
    return orjson.dumps(parameters).decode() + "\n"
