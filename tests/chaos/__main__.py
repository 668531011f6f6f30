"""``python -m tests.chaos --kills 100 --events 1000000 --seed N``: the verdict is its last line."""

import argparse
import json
import logging
import tempfile
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path

from confluent_kafka import TopicPartition

from lakehouse.errors import LakeError
from lakehouse.process import set_up_logging
from lakehouse.settings import EVENTS_TOPIC, HISTORY_TOPIC, Settings
from lakehouse.stores import kafka
from tests.chaos import truth
from tests.chaos.plan import KINDS, Planned, plan, serving
from tests.chaos.storm import FEED, Storm, write_faults
from tests.chaos.told import shown, untold
from tests.chaos.views import any_halted
from tests.chaos.witness import Witness, said, watching
from tests.support.servers import SERVERS, running, scratch_settings

log = logging.getLogger(__name__)
SYMBOLS = ("BTC/USD", "ETH/USD", "SOL/USD")
OURS = ("producer", "consumer", "api", "predictor", "score")


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line asks for."""

    kills: int
    events: int
    seed: int
    per_second: float
    patience: float
    faults: tuple[str, ...]
    scale: float


def main() -> None:
    """Builds a lake of its own, storms it, waits until it is whole again, and judges it."""
    parser = argparse.ArgumentParser(prog="tests.chaos", description=__doc__)
    parser.add_argument("--kills", type=int, default=100, help="faults of all kinds")
    parser.add_argument("--events", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--per-second", type=float, default=900.0, help="events per second of the market, in all")
    parser.add_argument("--patience", type=float, default=600.0, help="seconds to wait until all is whole again")
    parser.add_argument("--faults", default="all", help=f"kinds, with commas: {', '.join(KINDS)}; default: all")
    parser.add_argument("--scale", type=float, default=1.0, help="factor of how long pauses and cuts last (5 to 60 s)")
    parser.add_argument("--keep", type=Path, help="folder for the lake and its logs; default: one that is removed")
    values = vars(parser.parse_args())
    keep, wanted = values.pop("keep"), values.pop("faults")
    kinds = KINDS if wanted == "all" else tuple(wanted.split(","))
    if unknown := set(kinds) - set(KINDS):
        parser.error(f"--faults: unknown {', '.join(sorted(unknown))}; known: {', '.join(KINDS)}")
    set_up_logging()
    with tempfile.TemporaryDirectory(prefix="chaos-") as scratch:
        folder = keep or Path(scratch)
        folder.mkdir(parents=True, exist_ok=True)
        print(json.dumps(run(folder, Asked(**values, faults=kinds))))


def run(folder: Path, asked: Asked) -> dict[str, object]:
    """The whole trial in an empty folder; see `main`."""
    settings = scratch_settings(
        folder,
        symbols=SYMBOLS,
        simulator_seed=asked.seed,
        simulator_events_per_s=asked.per_second / len(SYMBOLS),
        simulator_faults=str(write_faults(folder, asked.seed)),
    )
    span_s = truth.time_for(settings, datetime.now(UTC), asked.events)
    faults = plan(asked.seed, asked.faults, asked.kills, span_s, asked.scale)
    extra = serving(faults)
    witness = Witness(settings, (*SERVERS, *FEED, *extra))
    with running(settings, *SERVERS) as servers:
        storm = Storm(servers)
        storm.begin(extra)
        firsts = _first_trades(settings)
        with watching(witness):
            began = time.monotonic()
            storm.rage(faults)
            while truth.logged(settings) < asked.events:
                storm.tend()
                time.sleep(1)
            raged_s, end = time.monotonic() - began, datetime.now(UTC)
            waited_s = _wait_whole(storm, firsts, end, asked.patience)
        servers.stop("producer")
        storm.up.remove("producer")
        _wait_committed(storm, asked.patience)
        servers.stop("consumer")
        verdict = _judge(storm, witness, end)
    times = {"raged_s": round(raged_s), "whole_after_s": round(waited_s)}
    return verdict | times | _counts(faults) | {"seed": asked.seed}


def _judge(storm: Storm, witness: Witness, end: datetime) -> dict[str, object]:
    """Both verdicts: what the lake holds, and what it told."""
    settings, faults = storm.settings, storm.inflicted
    events = truth.log_events(settings)
    verdict, market = truth.judge(settings, faults, events, end), truth.market_of(settings)
    unseen = [
        ts
        for (symbol,), mine in events.group_by("symbol")
        for ts in truth.unseen_quotes(market, str(symbol), mine, end)["ts"]
    ]
    names = tuple(name for name in OURS if name in witness.names)
    told = [*witness.told, *storm.restarts, *said(settings, names, events)]
    silent = untold(faults, told, witness.stale, unseen)
    verdict.notes += [shown(fault) for fault in silent]
    return {"events": verdict.events, **verdict.sums(), "untold": len(silent), "detail": asdict(verdict)}


def _counts(faults: Sequence[Planned]) -> dict[str, object]:
    victims = Counter(name for fault in faults if fault.kind == "kill" for name in fault.targets)
    kinds = Counter(fault.kind for fault in faults)
    return {"kills": kinds["kill"], "victims": dict(victims), "faults": dict(kinds)}


def _first_trades(settings: Settings) -> dict[str, tuple[int, datetime]]:
    """The first trades, as soon as bronze has some of each symbol."""
    while len(found := truth.first_trades(settings)) < len(settings.symbols):
        time.sleep(0.2)
    return found


def _wait_whole(storm: Storm, firsts: Mapping[str, tuple[int, datetime]], end: datetime, patience_s: float) -> float:
    """Seconds until every trade up to ``end`` is there, the feed, too, and nothing is halted; or ``patience_s``."""
    began = time.monotonic()
    while time.monotonic() - began < patience_s:
        storm.tend()
        try:
            missing, behind = truth.missing_ids(storm.settings, firsts, end), truth.feed_behind(storm.settings, end)
            halted = any_halted(storm.settings)
        except LakeError as error:
            log.info("waiting: %s", error)
            missing, behind, halted = -1, True, True
        if missing == 0 and not (behind or halted):
            break
        more = (", quotes too" if behind else "") + (", views or tables halted" if halted else "")
        log.info("waiting: %d trades missing%s", missing, more)
        time.sleep(2)
    return time.monotonic() - began


def _wait_committed(storm: Storm, patience_s: float) -> None:
    """Until the consumer has done everything that is in the log."""
    deadline = time.monotonic() + patience_s
    while not _all_committed(storm.settings):
        storm.tend()
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
