"""``python -m tests.chaos --kills 100 --events 1000000 --seed N``: the verdict is its last line."""

import argparse
import json
import logging
import tempfile
import time
from collections import Counter
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import TopicPartition

from lakehouse.errors import LakeError
from lakehouse.process import set_up_logging
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from tests.chaos import truth
from tests.chaos.storm import Storm, write_faults
from tests.support.servers import SERVERS, running, scratch_settings

log = logging.getLogger(__name__)
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")


def main() -> None:
    """Builds a lake of its own, storms it, waits until it is whole again, and judges it."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-second", type=float, default=900.0, help="events per second of the market, in all")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait until all is whole again")
    parser.add_argument("--keep", type=Path, help="folder for the lake and its logs; default: one that is removed")
    asked = parser.parse_args()
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        folder = asked.keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(folder, asked.kills, asked.events, asked.seed, asked.per_second, asked.patience)))


def run(
    folder: Path, kills: int, events: int, seed: int, per_second: float, patience_s: float = 600.0
) -> dict[str, object]:
    """The whole trial in an empty folder; see `main`."""
    settings = scratch_settings(
        folder,
        symbols=SYMBOLS,
        simulator_seed=seed,
        simulator_events_per_s=per_second / len(SYMBOLS),
        simulator_faults=str(write_faults(folder, seed)),
    )
    with running(settings, *SERVERS) as servers:
        storm = Storm(servers, seed)
        storm.begin()
        began = time.monotonic()
        storm.rage(truth.time_for(settings, datetime.now(UTC), events), kills)
        while truth.logged(settings) < events:
            storm.tend()
            time.sleep(1)
        raged_s, end = time.monotonic() - began, datetime.now(UTC)
        waited_s = _wait_whole(storm, end, patience_s)
        servers.stop("producer")
        _wait_committed(storm, patience_s)
        servers.stop("consumer")
        verdict = truth.judge(settings, storm.kills, end)
    victims = dict(Counter(kill.victim for kill in storm.kills))
    figures = {"raged_s": round(raged_s), "whole_after_s": round(waited_s), "victims": victims, "seed": seed}
    return {"events": verdict.events, **verdict.sums(), "kills": len(storm.kills), **figures, "detail": asdict(verdict)}


def _wait_whole(storm: Storm, end: datetime, patience_s: float) -> float:
    """Seconds until bronze has every trade up to ``end`` and the feed has come there, or until patience is gone."""
    began = time.monotonic()
    while time.monotonic() - began < patience_s:
        storm.tend()
        try:
            missing, behind = truth.missing_ids(storm.settings, end), truth.feed_behind(storm.settings, end)
        except LakeError as error:
            log.info("waiting: %s", error)
            missing, behind = -1, True
        if missing == 0 and not behind:
            break
        log.info("waiting: %d trades missing%s", missing, ", quotes too" if behind else "")
        time.sleep(2)
    return time.monotonic() - began


def _wait_committed(storm: Storm, patience_s: float) -> None:
    """Until the consumer has done everything that is in the log."""
    deadline = time.monotonic() + patience_s
    while not _all_committed(storm.settings):
        storm.servers.wait_healthy("consumer")
        if time.monotonic() > deadline:
            raise TimeoutError(f"the consumer has not come to the end of the log within {patience_s:g} s")
        time.sleep(0.5)


def _all_committed(settings: Settings) -> bool:
    client = kafka.consumer(settings)
    numbers = range(settings.kafka_partitions)
    parts = [TopicPartition(topic, number) for topic in (EVENTS_TOPIC, HISTORY_TOPIC) for number in numbers]
    try:
        committed = kafka.committed(client, parts)
        ends = {(p.topic, p.partition): kafka.watermarks(client, p)[1] for p in parts}
        return all((committed[key] or 0) >= high for key, high in ends.items())
    except LakeError:
        return False
    finally:
        client.close()


if __name__ == "__main__":
    main()
