"""The restore drill: a random backed-up day comes back into scratch tables and is held against the live lake."""

import argparse
import hashlib
import logging
import random
import sys
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, time, timedelta

import orjson
import polars as pl

from downstream.backup import NOTHING_TO_DO, held_tables, parts, read_manifest, record
from downstream.lakefiles import Part, canonical, encode
from downstream.restore import backed_up, restore
from downstream.tables import LAKE_TABLES
from features.compare import close, differing
from features.engine import State, fold
from features.spec import LEAD_IN, EngineConfig, spec_hash
from lakehouse.errors import FatalError, LakeError
from lakehouse.process import set_up_logging
from lakehouse.retention import dropped_days
from lakehouse.schema import GOLD_VIEWS
from lakehouse.settings import Settings, load_settings
from lakehouse.stores import bronze
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
PREFIX = "scratch_"
# Not the last hour of the day: a row there may follow on an event of the next day.
WINDOW = (timedelta(hours=22), timedelta(hours=23))
CANDLES = next(view for view in GOLD_VIEWS if view.name == "gold_ohlc_1m")


class NothingToDrillError(LakeError):
    """The lake is younger than its first whole day."""


@dataclass(frozen=True, slots=True)
class Report:
    """What a drill found to be equal: files and rows restored, candles and silver rows recomputed from them."""

    day: str
    files: int
    rows: int
    candles: int
    silver_rows: int


def drill(questdb: QuestDB, objects: Objects, config: EngineConfig, day: date) -> Report:
    """Restores ``day`` (and the day before, for the lead-in) beside the live tables, compares, and cleans up.

    Raises:
        FatalError: something differs; the message says what. RetryableError: a store is away.
    """
    _clean(questdb)
    try:
        before = day - timedelta(days=1)
        if next(backed_up(objects, before), None) is not None:
            restore(questdb, objects, before, PREFIX)
        done = restore(questdb, objects, day, PREFIX)
        for table in bronze.TABLES:
            questdb.execute(f"CREATE TABLE IF NOT EXISTS {PREFIX}{table} (LIKE {table})")
        _compare_files(questdb, objects, day)
        candles = _compare_candles(questdb, day)
        silver = sum(_compare_silver(questdb, config, symbol, day) for symbol in _symbols(questdb, day))
        return Report(day.isoformat(), done.files, done.rows, candles, silver)
    finally:
        _clean(questdb)


def choose_day(questdb: QuestDB, objects: Objects, seed: int | None = None) -> date:
    """A random day whose trades are backed up and still live.

    Raises:
        NothingToDrillError: there is none.
    """
    gone = dropped_days(questdb).get("bronze_trades", frozenset())
    days = {part.day for part in backed_up(objects) if part.table == "bronze_trades"} - gone
    if not days:
        raise NothingToDrillError("no day of trades is both backed up and live yet: run python -m downstream.backup")
    return random.Random(seed).choice(sorted(days))  # noqa: S311 - a sample, no secret


def _compare_files(questdb: QuestDB, objects: Objects, day: date) -> None:
    """The restored rows give the very bytes of the backup, and the live rows its fingerprint."""
    for table in held_tables(questdb, LAKE_TABLES):
        live = dict(parts(questdb, table, date.max, day))
        for part in (part for part in backed_up(objects, day) if part.table == table.name):
            manifest = read_manifest(objects, part)
            if manifest is None or live.get(part) != manifest.fingerprint:
                raise FatalError(f"live rows of {part.folder} are not those of the backup: run backup_daily, then look")
            old = manifest.table(part)
            where = f"ts IN '{day}'" + (f" AND {_of(part)}" if "symbol" in old.names else "")
            data = encode(canonical(questdb.frame(f"SELECT * FROM {PREFIX}{table.name} WHERE {where}"), old))
            if hashlib.sha256(data).hexdigest() != manifest.sha256:
                raise FatalError(f"{part.folder} restored and exported again gives other bytes")


def _compare_candles(questdb: QuestDB, day: date) -> int:
    """One-minute candles out of the restored trades against the live view; returns how many."""
    keys = ["ts", "symbol"]
    sql = CANDLES.sql.replace(f"FROM {CANDLES.base}", f"FROM {PREFIX}{CANDLES.base} WHERE ts IN '{day}'")
    ours = questdb.frame(sql).sort(keys)
    live = questdb.frame(f"SELECT * FROM {CANDLES.name} WHERE ts IN '{day}'").sort(keys)
    both = ours.join(live, on=keys, how="full", suffix="_live", coalesce=True)
    names = [name for name in ours.columns if name not in keys]
    wrong = both.filter(~pl.all_horizontal(close(pl.col(n), pl.col(f"{n}_live")).fill_null(False) for n in names))
    if wrong.height:
        raise FatalError(f"{wrong.height} of {both.height} candles of {day} differ from the live ones: {wrong.row(0)}")
    return both.height


def _compare_silver(questdb: QuestDB, config: EngineConfig, symbol: str, day: date) -> int:
    """The rows of one hour, folded from the restored events, against the live ones; returns how many."""
    midnight = datetime.combine(day, time(), UTC)
    start, end = (midnight + offset for offset in WINDOW)
    state, found = State.empty(config), []
    for piece in bronze.live_between(questdb, symbol, start - LEAD_IN, midnight + timedelta(days=1), PREFIX):
        state, rows = fold(state, piece)
        found.append(rows.filter(pl.col("ts").is_between(start, end, closed="left")))
    live = questdb.frame(
        f"SELECT * FROM silver_features WHERE symbol = {bronze.text(symbol)} AND origin = 'live' "
        f"AND spec = {bronze.text(spec_hash(config))} AND ts >= {bronze.instant(start)} AND ts < {bronze.instant(end)}"
    )
    if live.is_empty() or not found:
        log.info("%s: no live rows of these feature definitions between %s and %s", symbol, start, end)
        return 0
    if wrong := differing(live, pl.concat(found)):
        raise FatalError(f"{wrong} of {live.height} silver rows of {symbol} from {start} differ from the live ones")
    return live.height


def _symbols(questdb: QuestDB, day: date) -> list[str]:
    rows = questdb.rows(f"SELECT DISTINCT symbol FROM {PREFIX}bronze_trades WHERE ts IN '{day}' ORDER BY 1")
    return [symbol for (symbol,) in rows]


def _of(part: Part) -> str:
    return "symbol IS NULL" if part.symbol is None else f"symbol = {bronze.text(part.symbol)}"


def _clean(questdb: QuestDB) -> None:
    for (name,) in questdb.rows("SELECT table_name FROM tables()"):
        if name.startswith(PREFIX):
            questdb.execute(f"DROP TABLE IF EXISTS {name}")


def run_drill(settings: Settings, day: date | None = None) -> Report:
    """One drill with its own clients, noted in ``gold_quality``: what the command and the DAG call."""
    questdb, objects = QuestDB(settings), Objects(settings)
    try:
        config = EngineConfig(
            settings.feature_interval_ms, settings.vol_step_s, settings.silence_s, bronze.sparse_symbols(questdb)
        )
        report = drill(questdb, objects, config, day or choose_day(questdb, objects))
        record(questdb, datetime.now(UTC), report.files, f"drill of {report.day}")
        return report
    finally:
        questdb.close()
        objects.close()


def main() -> None:
    """``python -m downstream.drill [--day D]``; the report as JSON on stdout."""
    parser = argparse.ArgumentParser(prog="python -m downstream.drill", description=__doc__)
    parser.add_argument("--day", type=date.fromisoformat, help="this UTC day (default: a random one)")
    arguments = parser.parse_args()
    try:
        settings = load_settings()
        set_up_logging(settings.log_level)
        print(orjson.dumps(asdict(run_drill(settings, arguments.day))).decode())
    except NothingToDrillError as error:
        log.warning("%s", error)
        sys.exit(NOTHING_TO_DO)
    except LakeError as error:
        sys.exit(f"restore drill failed: {error}")


if __name__ == "__main__":
    main()
