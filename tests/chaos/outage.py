"""``python -m tests.chaos.outage --minutes 10``: the network goes away; how long until the ledger is whole again?

Nothing is killed and nobody helps: the same producer and consumer run on. The last line is JSON.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import httpx

from ingestion.silver.engine_config import engine_config
from ingestion.silver.stale_rows import renew
from lakehouse.errors import LakeError
from lakehouse.ledger import summaries
from lakehouse.process import set_up_logging
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.questdb import QuestDB
from tests.chaos import truth
from tests.chaos.__main__ import SYMBOLS
from tests.chaos.storm import Storm
from tests.support.servers import SERVERS, running, scratch_settings

BEFORE_S = 90.0


def main() -> None:
    """Builds a lake of its own, takes its exchange away, and prints how it recovered."""
    parser = argparse.ArgumentParser(prog="tests.chaos.outage", description=__doc__)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-second", type=float, default=60.0, help="events per second of the market, in all")
    asked = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="outage-") as folder:
        print(json.dumps(run(Path(folder), asked.minutes, asked.seed, asked.per_second)))


def run(folder: Path, minutes: float, seed: int, per_second: float) -> dict[str, object]:
    """The whole trial in an empty folder; see `main`."""
    script = folder / "faults.json"
    away = {"kind": "outage", "from": BEFORE_S, "until": BEFORE_S + 60.0 * minutes}
    script.write_text(json.dumps({"seed": seed, "faults": [away]}))
    settings = scratch_settings(
        folder,
        symbols=SYMBOLS,
        simulator_seed=seed,
        simulator_events_per_s=per_second / len(SYMBOLS),
        simulator_faults=str(script),
    )
    with running(settings, *SERVERS) as servers:
        Storm(servers).begin()
        _until(lambda: not _answers(settings), BEFORE_S + 60.0)
        left, firsts = datetime.now(UTC), truth.first_trades(settings)
        _until(lambda: _answers(settings), 60.0 * minutes + 60.0)
        back = datetime.now(UTC)
        _until(lambda: truth.missing_ids(settings, firsts, back) == 0, 600.0)
        whole = datetime.now(UTC)
        questdb = QuestDB(settings)
        _until(lambda: all(one.missing == 0 for one in summaries(questdb)), 60.0)
        began = time.monotonic()
        rows = [renew(questdb, engine_config(settings, questdb), symbol, datetime.now(UTC)) for symbol in SYMBOLS]
        renewed_s = time.monotonic() - began
        span = f"ts BETWEEN {bronze.instant(left)} AND {bronze.instant(back)}"
        figures = {
            "away_s": round((back - left).total_seconds()),
            "whole_after_s": round((whole - back).total_seconds(), 1),
            "trades_refilled": questdb.rows(f"SELECT count() FROM bronze_trades WHERE {span}")[0][0],
            "missing": sum(one.missing or 0 for one in summaries(questdb)),
            "doubled": sum(one.doubles for one in summaries(questdb)),
            "gaps": questdb.rows("SELECT count() FROM bronze_gaps")[0][0],
            "rows_renewed": sum(rows),
            "renewed_in_s": round(renewed_s, 1),
        }
        questdb.close()
    return figures


def _answers(settings: Settings) -> bool:
    try:
        return httpx.get(f"{settings.rest_url}/Time", timeout=2.0).is_success
    except httpx.TransportError:
        return False


def _until(holds: Callable[[], bool], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while True:
        try:
            if holds():
                return
        except LakeError:
            pass  # a server is busy: ask again
        if time.monotonic() > deadline:
            raise TimeoutError(f"not within {patience_s:g} s")
        time.sleep(0.2)


if __name__ == "__main__":
    main()
