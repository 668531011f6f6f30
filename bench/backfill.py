"""How fast a file of trades gets into the lake beside the bare path over the same messages, in the same run.

python -m bench.backfill [--rows N] [--silver] [--raw-limit FILE]
"""

import argparse
import json
import os
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import polars as pl
import psutil

from bench.ingest import BARE_TABLE, bare
from formats.frames import read_trades
from ingestion.migrate import migrate
from lakehouse.settings import HISTORY_TOPIC
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from stack.envfile import child_environment
from stack.supervision.process import TRADELAKE
from tests.support.servers import SERVERS, LocalServers, running, scratch_settings

SYMBOL = "BTC/USD"
START_US = 1_700_000_000_000_000


def write_trades(path: Path, rows: int) -> None:
    """A file of trades with dense ids, three a second on average."""
    random = np.random.default_rng(1)
    ts = pl.Series(START_US + np.cumsum(random.integers(0, 666_667, rows))).cast(pl.Datetime("us", "UTC"))
    price = np.round(60_000 * np.exp(np.cumsum(random.normal(0, 1e-5, rows))), 1)
    texts = {"side": ("buy", "sell"), "ord_type": ("limit", "market")}
    told = {name: np.where(random.random(rows) < 0.5, *either) for name, either in texts.items()}
    qty = random.exponential(0.1, rows) + 1e-6
    frame = pl.DataFrame({"ts": ts, "trade_id": np.arange(1, rows + 1), "price": price, "qty": qty, **told})
    frame.write_parquet(path)


def reading(path: Path) -> dict[str, int]:
    """Rows per second of what evaluation reads, and of polars' own scan of the same file."""
    began = time.perf_counter()
    rows = pl.scan_parquet(path).collect().height
    scanned = time.perf_counter()
    read_trades(path)
    done = time.perf_counter()
    return {"scan_per_s": round(rows / (scanned - began)), "read_trades_per_s": round(rows / (done - scanned))}


def backfilled(servers: LocalServers, path: Path, silver: bool) -> tuple[float, int]:
    """Seconds until everything is in the lake, and the most memory (USS, MB) that the command took."""
    servers.start("consumer")
    command = [*TRADELAKE, "backfill", "--file", str(path), "--symbol", SYMBOL, *(() if silver else ("--no-rebuild",))]
    began, most = time.perf_counter(), 0
    with subprocess.Popen(command, env=os.environ | child_environment(servers.settings)) as child:
        process = psutil.Process(child.pid)
        while child.poll() is None:
            try:
                most = max(most, process.memory_full_info().uss)
            except psutil.Error:  # it has just ended
                break
            time.sleep(0.2)
    if child.returncode:
        raise RuntimeError(f"the backfill ended with {child.returncode}")
    seconds = time.perf_counter() - began
    servers.stop("consumer")
    return seconds, most >> 20


def compare(servers: LocalServers, path: Path, asked: argparse.Namespace) -> dict[str, object]:
    """The backfill, then the bare path over the messages that it sent."""
    questdb = QuestDB(servers.settings)
    migrate(servers.settings, questdb, kafka.admin(servers.settings))
    seconds, most = backfilled(servers, path, asked.silver)
    ((count,),) = questdb.rows("SELECT count() FROM bronze_trades")
    questdb.execute(BARE_TABLE)
    bare_per_s = bare(servers.settings, asked.raw_limit, HISTORY_TOPIC)
    questdb.close()
    rate = asked.rows / seconds
    figures = {"backfill_per_s": round(rate), "bare_per_s": round(bare_per_s), "ratio": round(rate / bare_per_s, 3)}
    return {**figures, "bronze_rows": count, "memory_mb": most}


def main() -> None:
    """Starts servers of its own, loads a file, measures, and prints one line of JSON."""
    parser = argparse.ArgumentParser(prog="bench.backfill", description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--silver", action="store_true", help="with the silver rows")
    parser.add_argument("--raw-limit", type=Path, default=Path("../shared/tools/raw_limit.py"))
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        path = Path(folder) / "trades.parquet"
        write_trades(path, asked.rows)
        with running(scratch_settings(Path(folder) / "lake", symbols=(SYMBOL,)), *SERVERS) as servers:
            found = compare(servers, path, asked)
        print(json.dumps({"rows": asked.rows, "silver": asked.silver, **found, **reading(path)}))


if __name__ == "__main__":
    main()
