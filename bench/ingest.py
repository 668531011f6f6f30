"""How fast the full path is beside the bare one, on the same messages in the same run; and whether memory stays flat.

python -m bench.ingest [--events N] [--symbols K] [--interval-ms MS] [--members M] [--raw-limit FILE] [--memory]
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import psutil
from confluent_kafka import Consumer, TopicPartition

from bench import market_log
from ingestion.migrate import migrate
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from stack.envfile import child_environment
from stack.supervision.process import run
from tests.support.servers import SERVERS, LocalServers, free_ports, running, scratch_settings

BARE_TABLE = (
    "CREATE TABLE bare_trades (ts TIMESTAMP, symbol SYMBOL, trade_id LONG, price DOUBLE, qty DOUBLE, side SYMBOL, "
    "ord_type SYMBOL) TIMESTAMP(ts) PARTITION BY DAY WAL DEDUP UPSERT KEYS(ts, symbol, trade_id)"
)
SYMBOLS = (
    "BTC/USD",
    "ETH/USD",
    "SOL/USD",
    "XRP/USD",
    "DOGE/USD",
    "ADA/USD",
    "LTC/USD",
    "LINK/USD",
    "DOT/USD",
    "AVAX/USD",
)
MAX_S = 600.0


def bare(settings: Settings, program: Path, topic: str = EVENTS_TOPIC) -> float:
    """Events per second of the bare path over what a topic holds: a child process of its own."""
    auth = f"username={settings.questdb_user};password={settings.questdb_password.get_secret_value()};"
    address = f"http::addr={settings.questdb_host}:{settings.questdb_http_port};{auth}"
    command = [sys.executable, str(program), topic, "--kafka", kafka.bootstrap(settings), "--questdb", address]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, timeout=MAX_S)
    return float(json.loads(done.stdout.splitlines()[-1])["bare_per_s"])


def full(
    servers: LocalServers,
    events: int,
    sample: Callable[[int, psutil.Process], None] | None = None,
    members: int = 1,
) -> float:
    """Events per second of `ingestion.consumer.loop`, from its first commit to its last (so without its start).

    Args:
        sample: told the events done and the first member's process, again and again.
        members: consumers in the group, each a process of its own.
    """
    # Of the same group, to ask for its offsets; it never joins.
    watcher = kafka.consumer(servers.settings)
    others = [_member(servers.settings) for _ in range(members - 1)]
    servers.start("consumer")
    process = psutil.Process(servers.pid("consumer"))
    began, first, done = 0.0, 0, 0
    deadline = time.monotonic() + MAX_S
    while done < events:
        done = _committed(watcher, servers.settings.kafka_partitions)
        if done and not first:
            began, first = time.perf_counter(), done
        if sample is not None:
            sample(done, process)
        if time.monotonic() > deadline or not process.is_running():
            raise RuntimeError(f"the consumer stands at {done} of {events}: see its log")
        time.sleep(0.02)
    seconds = time.perf_counter() - began
    for other in others:
        other.terminate()
        other.wait()
    servers.stop("consumer")
    return (events - first) / seconds


def _member(settings: Settings) -> subprocess.Popen[bytes]:
    """One more consumer, on a metrics port of its own."""
    mine = settings.model_copy(update={"consumer_metrics_port": free_ports(1)[0]})
    return subprocess.Popen(
        run("consumer"),
        env=os.environ | child_environment(mine),
        stderr=subprocess.DEVNULL,
    )


def _committed(watcher: Consumer, partitions: int) -> int:
    found = kafka.committed(watcher, [TopicPartition(EVENTS_TOPIC, number) for number in range(partitions)])
    return sum(offset or 0 for offset in found.values())


def compare(servers: LocalServers, asked: argparse.Namespace) -> dict[str, object]:
    """The bare path, then the full one, over the same messages."""
    _fill(servers, asked)
    questdb = QuestDB(servers.settings)
    questdb.execute(BARE_TABLE)
    bare_per_s = bare(servers.settings, asked.raw_limit)
    questdb.wait_applied(["bare_trades"])
    full_per_s = full(servers, asked.events, members=asked.members)
    questdb.wait_applied(["bronze_trades", "bronze_quotes", "silver_features"], 120)
    tables = ("bronze_trades", "bronze_quotes", "silver_features")
    rows = {table: questdb.rows(f"SELECT count() FROM {table}")[0][0] for table in tables}
    questdb.close()
    figures = {"full_per_s": round(full_per_s), "bare_per_s": round(bare_per_s)}
    return {**figures, "ratio": round(full_per_s / bare_per_s, 3), "rows": rows}


def memory(servers: LocalServers, asked: argparse.Namespace) -> dict[str, object]:
    """The consumer's own memory (USS) as it goes through the events."""
    _fill(servers, asked)
    samples: dict[int, float] = {}

    def sample(done: int, process: psutil.Process) -> None:
        mark = done // (asked.events // 20)
        if mark not in samples:
            samples[mark] = round(process.memory_full_info().uss / 2**20, 1)

    per_s = full(servers, asked.events, sample)
    path = [samples[mark] for mark in sorted(samples)]
    return {
        "full_per_s": round(per_s),
        "uss_mb": path,
        "growth_second_half_mb": round(path[-1] - path[len(path) // 2], 1),
    }


def _fill(servers: LocalServers, asked: argparse.Namespace) -> None:
    questdb = QuestDB(servers.settings)
    migrate(servers.settings, questdb, kafka.admin(servers.settings))
    questdb.close()
    market_log.fill(servers.settings, SYMBOLS[: asked.symbols], asked.per_second, asked.events, asked.quotes)


def main() -> None:
    """Starts servers of its own, fills the log, measures, and prints one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench.ingest", description=__doc__)
    parser.add_argument("--events", type=int, default=600_000)
    parser.add_argument("--symbols", type=int, default=1)
    parser.add_argument("--per-second", type=float, default=200.0, help="events per second of market time, in all")
    parser.add_argument("--quotes", action="store_true", help="trades and quotes, which the bare path cannot read")
    parser.add_argument("--interval-ms", type=int, default=1000, help="0: a silver row per event")
    batch = Settings.model_fields["batch_events"].default
    parser.add_argument("--batch", type=int, default=batch, help="most events per batch of the consumer")
    parser.add_argument("--members", type=int, default=1, help="consumers in the group")
    parser.add_argument("--raw-limit", type=Path, default=Path("../shared/tools/raw_limit.py"))
    parser.add_argument("--memory", action="store_true", help="measure memory instead, e.g. over --events 5000000")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        settings = scratch_settings(
            Path(folder),
            symbols=SYMBOLS[: asked.symbols],
            feature_interval_ms=asked.interval_ms,
            batch_events=asked.batch,
        )
        with running(settings, *SERVERS) as servers:
            found = (memory if asked.memory else compare)(servers, asked)
    head = {name: getattr(asked, name) for name in ("events", "symbols", "per_second", "interval_ms", "members")}
    print(json.dumps({**head, **found}))


if __name__ == "__main__":
    main()
