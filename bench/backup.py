"""How fast a day is backed up and restored, against the server's own export alone: ``python -m bench.backup``."""

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable
from contextlib import closing
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import polars as pl

from downstream import backup, restore
from downstream.archive.archive import backed_up, read_manifest
from downstream.archive.manifest import canonical, describe, encode
from lakehouse.schema import BRONZE_TRADES
from lakehouse.settings import Settings
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB
from stack.layout import layout
from stack.servers import buckets
from stack.servers.object_store import NAME, prepare_store
from tests.support.servers import running, scratch_settings

DAY = date(2026, 1, 5)
SHARES = {"BTC/USD": 0.5, "ETH/USD": 0.3, "SOL/USD": 0.2}


def fill(questdb: QuestDB, rows: int) -> None:
    """Writes one day of trades, in the order in which they would have come."""
    rng = np.random.default_rng(1)
    start = datetime(DAY.year, DAY.month, DAY.day, tzinfo=UTC)
    frame = pl.DataFrame(
        {
            "ts": pl.Series(np.sort(rng.integers(0, 86_400_000_000, rows))).cast(pl.Duration("us")) + start,
            "symbol": rng.choice(list(SHARES), rows, p=list(SHARES.values())),
            "price": np.round(50_000 + np.cumsum(rng.normal(0, 1, rows)), 1),
            "qty": np.round(rng.exponential(0.1, rows) + 1e-8, 8),
            "side": rng.choice(["buy", "sell"], rows),
            "ord_type": rng.choice(["market", "limit"], rows),
        }
    ).with_columns(
        pl.col("ts").cast(pl.Datetime("us", "UTC")),
        received_at=pl.col("ts").cast(pl.Datetime("us", "UTC")) + timedelta(milliseconds=40),
        trade_id=pl.int_range(1, pl.len() + 1).over("symbol"),
        source=pl.lit("sim"),
        origin=pl.lit("live"),
        epoch=pl.lit(1, pl.Int64),
        seq=pl.int_range(pl.len()).over("symbol"),
    )
    questdb.migrate([BRONZE_TRADES], ())
    for piece in frame.iter_slices(100_000):
        questdb.write(BRONZE_TRADES, piece)
    questdb.wait_applied([BRONZE_TRADES.name])


def timed(what: Callable[[], object]) -> float:
    """Seconds a call takes."""
    begun = time.perf_counter()
    what()
    return time.perf_counter() - begun


def export_alone(settings: Settings, order: bool) -> float:
    """Seconds of ``GET /exp?fmt=parquet``: the whole day as it lies, or ordered by all keys, a symbol at a time."""
    day = f"SELECT * FROM bronze_trades WHERE ts IN '{DAY}'"
    keys = ", ".join(BRONZE_TRADES.keys)
    queries = [f"{day} AND symbol = '{symbol}' ORDER BY {keys}" for symbol in SHARES] if order else [day]
    auth = (settings.questdb_user, settings.questdb_password.get_secret_value())
    url = f"http://{settings.questdb_host}:{settings.questdb_http_port}/exp"
    with httpx.Client(auth=auth, timeout=60) as client:
        begun = time.perf_counter()
        for query in queries:
            client.get(url, params={"query": query, "fmt": "parquet"}).raise_for_status()
        return time.perf_counter() - begun


def back_up(questdb: QuestDB, settings: Settings, number: int) -> tuple[float, list[str]]:
    """Seconds of a whole backup into a bucket of its own, and the sums of what it wrote."""
    fresh = settings.model_copy(update={"s3_bucket": f"run-{number}"})
    buckets.ensure(fresh)
    objects = Objects(fresh)
    seconds = timed(lambda: backup.run(questdb, objects, settings.source, DAY, [BRONZE_TRADES]))
    manifests = [read_manifest(objects, part) for part in backed_up(objects)]
    objects.close()
    return seconds, [m.sha256 for m in manifests if m is not None]


def stages(settings: Settings) -> dict[str, float]:
    """Seconds of each thing a backup does, one after the other on one thread: what there is to overlap."""
    fresh = settings.model_copy(update={"s3_bucket": "stages"})
    buckets.ensure(fresh)
    took: dict[str, float] = defaultdict(float)

    def stage(name: str, call: Callable[..., Any], *arguments: object) -> Any:
        begun = time.perf_counter()
        result = call(*arguments)
        took[name] += time.perf_counter() - begun
        return result

    with closing(QuestDB(settings)) as questdb, closing(Objects(fresh)) as objects:
        stage("fingerprints", lambda: list(backup.parts(questdb, BRONZE_TRADES, date.max, DAY)))
        rows = stage("export", questdb.frame, f"SELECT * FROM bronze_trades WHERE ts IN '{DAY}'")
        for symbol in SHARES:
            mine = stage("split", rows.filter, pl.col("symbol") == symbol)
            data = stage("encode", encode, stage("sort", canonical, mine, BRONZE_TRADES))
            stored = stage("write", objects.put, symbol, data)
            back = stage("read back", objects.get, stored.key, stored.version)
            stage("verify", describe, back, BRONZE_TRADES, None, symbol)
    return {name: round(seconds, 3) for name, seconds in took.items()}


def bring_back(settings: Settings, rounds: int) -> tuple[float, list[str]]:
    """Seconds of restoring the day into an emptied table, and the sums of exporting it again."""
    # A client of its own: the server loses the first write that comes over a connection older than the table.
    questdb = QuestDB(settings)
    objects = Objects(settings.model_copy(update={"s3_bucket": f"run-{rounds - 1}"}))
    seconds = timed(lambda: restore.restore(questdb, objects, DAY))
    objects.close()
    return seconds, back_up(questdb, settings, rounds)[1]


def measure(settings: Settings, rows: int, rounds: int) -> dict[str, object]:
    """Alternates the ways, so that the machine's noise meets all of them alike; medians count."""
    questdb = QuestDB(settings)
    fill(questdb, rows)
    plain, ordered, whole, sums = [], [], [], []
    for number in range(rounds):
        plain.append(export_alone(settings, order=False))
        ordered.append(export_alone(settings, order=True))
        seconds, found = back_up(questdb, settings, number)
        whole.append(seconds)
        sums.append(found)
    questdb.execute("DROP TABLE bronze_trades")
    questdb.close()
    restored_s, again = bring_back(settings, rounds)
    medians = [statistics.median(values) for values in (plain, ordered, whole)]
    return {
        "rows": rows,
        "export_plain_s": round(medians[0], 3),
        "export_ordered_s": round(medians[1], 3),
        "backup_s": round(medians[2], 3),
        "backup_rows_per_s": round(rows / medians[2]),
        "ratio_to_ordered_export": round(statistics.median(o / w for o, w in zip(ordered, whole, strict=True)), 2),
        "ratio_to_plain_export": round(statistics.median(p / w for p, w in zip(plain, whole, strict=True)), 2),
        "stages_one_by_one_s": stages(settings),
        "restore_s": round(restored_s, 2),
        "restore_rows_per_s": round(rows / restored_s),
        "equal_bytes": all(found == again for found in sums),
    }


def main() -> None:
    """Runs QuestDB and MinIO for the length of the bench."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_200_000)
    parser.add_argument("--rounds", type=int, default=5)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="tradelake-bench-") as folder:
        settings = scratch_settings(Path(folder))
        prepare_store(settings, layout(settings))
        with running(settings, "questdb", NAME):
            result = measure(settings, arguments.rows, arguments.rounds)
    print(f"{os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}", file=sys.stderr)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
