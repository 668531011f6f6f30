"""The restore drill: restores a random backed-up day into scratch tables and compares it with the live lake."""

import hashlib
import logging
import random
import re
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta

import polars as pl

from downstream.archive.archive import backed_up, read_manifest
from downstream.archive.manifest import DayFile, canonical, encode
from downstream.archive.tables import LAKE_TABLES
from downstream.backup import held_tables, parts, record
from downstream.restore import restore
from features.compare import close, differing
from features.engine import EngineState, fold
from features.spec import LEAD_IN, EngineConfig, spec_hash
from lakehouse.errors import FatalError, NothingToDoError
from lakehouse.retention import dropped_days
from lakehouse.schema import GOLD_VIEWS
from lakehouse.settings import Settings
from lakehouse.stores import bronze
from lakehouse.stores.objects import Objects
from lakehouse.stores.questdb import QuestDB

log = logging.getLogger(__name__)
# Not `scratch_`, which people restore days into. A killed drill leaves its tables to the next one.
PREFIX = "drill_"
_OURS = re.compile(rf"{PREFIX}(bronze|silver|gold|meta)_\w+")
HOUR = timedelta(hours=1)
# The last rows of a day may depend on events of the next one.
MARGIN = timedelta(minutes=10)
CANDLES = next(view for view in GOLD_VIEWS if view.name == "gold_ohlc_1m")


@dataclass(frozen=True, slots=True)
class DrillReport:
    """What a drill verified: files and rows restored, candles and silver rows recomputed from them."""

    day: str
    files: int
    rows: int
    candles: int
    silver_rows: int


def drill(questdb: QuestDB, objects: Objects, config: EngineConfig, day: date) -> DrillReport:
    """Restores ``day`` beside the live tables, compares files, candles and an hour of silver, and cleans up.

    Raises:
        FatalError: something differs; the message says what. RetryableError: a store is down.
    """
    _clean(questdb)
    try:
        done = restore(questdb, objects, day, PREFIX)
        _compare_files(questdb, objects, day)
        candles = _compare_candles(questdb, day)
        silver = _compare_silver(questdb, objects, config, day)
        return DrillReport(day.isoformat(), done.files, done.rows, candles, silver)
    finally:
        _clean(questdb)


def choose_day(questdb: QuestDB, objects: Objects, seed: int | None = None) -> date:
    """A random day whose trades are backed up and still live.

    Raises:
        NothingToDoError: there is none.
    """
    gone = dropped_days(questdb).get("bronze_trades", frozenset())
    days = {part.day for part in backed_up(objects) if part.table == "bronze_trades"} - gone
    if not days:
        raise NothingToDoError("no day of trades is both backed up and live yet: run tradelake backup")
    return random.Random(seed).choice(sorted(days))  # noqa: S311 - a sample, no secret


def _compare_files(questdb: QuestDB, objects: Objects, day: date) -> None:
    """Checks that live and restored rows both encode to the backup's bytes and that it lacks no live row."""
    saved = set(backed_up(objects, day))
    held = {part for table in held_tables(questdb, LAKE_TABLES) for part, _ in parts(questdb, table, date.max, day)}
    if unsaved := held - saved:
        raise FatalError(f"{day} is not fully backed up, e.g. {min(unsaved).folder}: run tradelake backup")
    for part in sorted(saved):
        manifest = read_manifest(objects, part)
        if manifest is None:
            raise FatalError(f"{part.manifest_key} was removed during the drill: drill again")
        mine = f" AND {_of(part)}" if "symbol" in manifest.schema else ""
        for name in (part.table, PREFIX + part.table):
            rows = questdb.frame(f"SELECT * FROM {name} WHERE ts IN '{day}'{mine}")
            data = encode(canonical(rows, manifest.table(part)))
            if hashlib.sha256(data).hexdigest() != manifest.sha256:
                raise FatalError(
                    f"{part.folder}: the {rows.height} rows of {name} differ from the {manifest.rows} of the backup "
                    f"(sha256): after late rows, run tradelake backup and drill again"
                )


def _compare_candles(questdb: QuestDB, day: date) -> int:
    """Compares one-minute candles of the restored trades with the live view; returns how many."""
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


def _compare_silver(questdb: QuestDB, objects: Objects, config: EngineConfig, day: date) -> int:
    """Compares each symbol's last hour of live silver rows with rows of the restored events; returns how many."""
    spec = spec_hash(config)
    live = f"FROM silver_features WHERE origin = 'live' AND spec = '{spec}' AND ts"
    latest = datetime.combine(day, time(), UTC) + timedelta(days=1) - MARGIN
    newest = questdb.rows(f"SELECT symbol, max(ts) {live} IN '{day}' GROUP BY symbol ORDER BY symbol")
    ends = {symbol: min(ts, latest) for symbol, ts in newest}
    _restore_lead_in(questdb, objects, min(ends.values(), default=latest) - HOUR - LEAD_IN, day)
    compared = 0
    for symbol, end in ends.items():
        start = end - HOUR
        held = questdb.frame(f"SELECT * {live} IN '{day}' AND {bronze.within(symbol, start, end)}")
        again = _recomputed(questdb, config, symbol, start, end, day)
        if wrong := differing(held, again):
            raise FatalError(f"{wrong} of {held.height} silver rows of {symbol} from {start} differ from the live ones")
        compared += held.height
    log.info("%s: %d silver rows of %d symbols recomputed", day, compared, len(ends))
    return compared


def _recomputed(
    questdb: QuestDB, config: EngineConfig, symbol: str, start: datetime, end: datetime, day: date
) -> pl.DataFrame:
    """The rows of a span within ``day``, folded from the restored events in log order."""
    state, found = EngineState.empty(config), []
    midnight = datetime.combine(day, time(), UTC)
    for piece in bronze.live_between(questdb, symbol, start - LEAD_IN, midnight + timedelta(days=1), PREFIX):
        state, rows = fold(state, piece)
        found.append(rows.filter(pl.col("ts").is_between(max(start, midnight), end, closed="left")))
    if not found:
        raise FatalError(f"the backup holds no live events of {symbol} on {day}, but silver has rows")
    return pl.concat(found)


def _restore_lead_in(questdb: QuestDB, objects: Objects, since: datetime, day: date) -> None:
    """Restores the events of the days before, as far back as windows reach and the lake goes."""
    for age in range((day - since.date()).days, 0, -1):
        before = day - timedelta(days=age)
        if any(part.table in bronze.TABLES for part in backed_up(objects, before)):
            restore(questdb, objects, before, PREFIX, bronze.TABLES)
    for table in bronze.TABLES:
        questdb.execute(f"CREATE TABLE IF NOT EXISTS {PREFIX}{table} (LIKE {table})")


def _of(part: DayFile) -> str:
    return "symbol IS NULL" if part.symbol is None else f"symbol = {bronze.text(part.symbol)}"


def _clean(questdb: QuestDB) -> None:
    for (name,) in questdb.rows("SELECT table_name FROM tables()"):
        if _OURS.fullmatch(name):
            questdb.execute(f"DROP TABLE IF EXISTS {name}")


def run_drill(settings: Settings, day: date | None = None) -> DrillReport:
    """Runs one drill with its own clients and records it in ``gold_quality``; called by the command and the DAG."""
    with closing(QuestDB(settings)) as questdb, closing(Objects(settings)) as objects:
        config = EngineConfig.of(settings, bronze.sparse_symbols(questdb))
        report = drill(questdb, objects, config, day or choose_day(questdb, objects))
        record(questdb, datetime.now(UTC), report.files, f"drill of {report.day}")
        return report
