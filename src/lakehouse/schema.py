"""All tables and their columns; DDL, write order and the data dictionary are generated from here."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Literal

ColumnType = Literal["TIMESTAMP", "SYMBOL", "VARCHAR", "LONG", "INT", "DOUBLE", "BOOLEAN"]
Layer = Literal["bronze", "silver", "gold", "meta"]


@dataclass(frozen=True, slots=True)
class Column:
    """One column: its name, QuestDB type and meaning with unit."""

    name: str
    type: ColumnType
    doc: str


@dataclass(frozen=True, slots=True)
class Table:
    """A WAL table with a designated timestamp ``ts`` and deduplication keys (none: plain append)."""

    name: str
    layer: Layer
    doc: str
    columns: tuple[Column, ...]
    keys: tuple[str, ...]
    partition: Literal["DAY", "MONTH", "YEAR"] = "DAY"

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in write order."""
        return tuple(c.name for c in self.columns)

    @property
    def symbol_columns(self) -> tuple[str, ...]:
        """Columns of type SYMBOL, which ILP must be told of."""
        return tuple(c.name for c in self.columns if c.type == "SYMBOL")

    def ddl(self) -> str:
        """``CREATE TABLE IF NOT EXISTS`` for this table."""
        columns = ", ".join(f'"{c.name}" {c.type}' for c in self.columns)
        dedup = f" DEDUP UPSERT KEYS({', '.join(self.keys)})" if self.keys else ""
        return (
            f"CREATE TABLE IF NOT EXISTS {self.name} ({columns}) TIMESTAMP(ts) PARTITION BY {self.partition} WAL{dedup}"
        )


@dataclass(frozen=True, slots=True)
class View:
    """A view, or an incrementally refreshed materialized view, over ``base``."""

    name: str
    layer: Layer
    doc: str
    sql: str
    base: str
    materialized: bool = False
    columns: tuple[Column, ...] = field(default=())

    def ddl(self) -> str:
        """``CREATE`` statement; a plain view is replaced, a materialized one is kept when it exists."""
        if self.materialized:
            return (
                f"CREATE MATERIALIZED VIEW IF NOT EXISTS {self.name} WITH BASE {self.base} REFRESH IMMEDIATE "
                f"AS ({self.sql}) PARTITION BY {'DAY' if self.name.endswith('_1m') else 'MONTH'}"
            )
        return f"CREATE OR REPLACE VIEW {self.name} AS ({self.sql})"


TS = Column("ts", "TIMESTAMP", "Exchange time, UTC.")
RECEIVED_AT = Column("received_at", "TIMESTAMP", "When our producer received it (our clock), UTC.")
SYMBOL = Column("symbol", "SYMBOL", "Pair in Kraken v2 spelling, e.g. BTC/USD.")
SOURCE = Column("source", "SYMBOL", "Source of the event: ws, rest, file or sim.")
ORIGIN = Column("origin", "SYMBOL", "Topic it arrived through: live (market.events) or history (market.history).")
EPOCH = Column("epoch", "LONG", "Epoch of the Kafka topic: a recreated topic starts a new one; order is (epoch, seq).")
SEQ = Column("seq", "LONG", "Kafka offset within the epoch and the symbol's partition.")

BRONZE_TRADES = Table(
    "bronze_trades",
    "bronze",
    "Every trade, exactly once.",
    (
        TS,
        RECEIVED_AT,
        SYMBOL,
        Column("trade_id", "LONG", "Kraken's id, dense per symbol; -(line number) for files without ids."),
        Column("price", "DOUBLE", "Price, quote currency."),
        Column("qty", "DOUBLE", "Quantity, base units."),
        Column("side", "SYMBOL", "Taker side: buy or sell; NULL if a file does not say."),
        Column("ord_type", "SYMBOL", "Taker order type: limit or market; NULL where unknown."),
        SOURCE,
        ORIGIN,
        EPOCH,
        SEQ,
    ),
    ("ts", "symbol", "trade_id"),
)

QUOTE_COLUMNS = (
    Column("bid", "DOUBLE", "Best bid, quote currency."),
    Column("bid_qty", "DOUBLE", "Quantity at the best bid, base units."),
    Column("ask", "DOUBLE", "Best ask, quote currency."),
    Column("ask_qty", "DOUBLE", "Quantity at the best ask, base units."),
    Column("last", "DOUBLE", "Last trade price, quote currency."),
    Column("volume", "DOUBLE", "Volume of the last 24 h, base units."),
    Column("vwap", "DOUBLE", "Volume-weighted average price of the last 24 h."),
    Column("low", "DOUBLE", "Lowest price of the last 24 h."),
    Column("high", "DOUBLE", "Highest price of the last 24 h."),
    Column("change", "DOUBLE", "Price change over 24 h, quote currency."),
    Column("change_pct", "DOUBLE", "Price change over 24 h, percent."),
)

BRONZE_QUOTES = Table(
    "bronze_quotes",
    "bronze",
    "Every change of the best bid or ask, exactly once.",
    (TS, RECEIVED_AT, SYMBOL, *QUOTE_COLUMNS, SOURCE, ORIGIN, EPOCH, SEQ),
    ("ts", "symbol", "epoch", "seq"),
)

BRONZE_GAPS = Table(
    "bronze_gaps",
    "bronze",
    "Outages of a stream, as seen by the producer.",
    (
        TS,
        RECEIVED_AT,
        SYMBOL,
        Column("stream", "SYMBOL", "The stream lost: trade or ticker."),
        Column("reason", "VARCHAR", "The reason, in a few words."),
        ORIGIN,
        EPOCH,
        SEQ,
    ),
    ("ts", "symbol", "epoch", "seq"),
    "MONTH",
)

META_SYMBOLS = Table(
    "meta_symbols",
    "meta",
    "Whether a symbol's trade ids are dense; the newest row counts.",
    (
        Column("ts", "TIMESTAMP", "When this was recorded, UTC."),
        SYMBOL,
        Column("dense", "BOOLEAN", "Whether trade ids are dense, so that completeness can be proved."),
    ),
    ("ts", "symbol"),
    "YEAR",
)

# Raise it whenever an older version would harm or misread a lake of this one.
SCHEMA_VERSION = 2
META_VERSIONS = Table(
    "meta_versions",
    "meta",
    "Versions of this schema that the lake has had; one newer than the code knows is refused.",
    (
        Column("ts", "TIMESTAMP", "When the lake was brought to this version, UTC."),
        Column("version", "INT", "Version of the schema; lakes that were made before it was recorded have none."),
    ),
    ("ts", "version"),
    "YEAR",
)

META_EPOCHS = Table(
    "meta_epochs",
    "meta",
    "Epochs of the Kafka topics, numbered in the order in which they were first seen.",
    (
        Column("ts", "TIMESTAMP", "The epoch as microseconds since 1970: one row per epoch, the last writer wins."),
        Column("topic", "SYMBOL", "Kafka topic."),
        Column("topic_id", "VARCHAR", "Kafka's id of the topic; a recreated topic has a new one."),
        EPOCH,
    ),
    ("ts",),
    "YEAR",
)

META_POSITIONS = Table(
    "meta_positions",
    "meta",
    "How far each partition of the log is in this QuestDB; it is lost with the data, unlike Kafka's commit.",
    (
        Column("ts", "TIMESTAMP", "The epoch as microseconds since 1970: one row per epoch and partition."),
        Column("topic", "SYMBOL", "Kafka topic."),
        Column("partition_id", "INT", "Number of the partition."),
        EPOCH,
        Column("next_seq", "LONG", "Offset of the first message that is not yet in bronze and silver."),
    ),
    ("ts", "topic", "partition_id"),
    "YEAR",
)

META_RUNS = Table(
    "meta_runs",
    "meta",
    "Finished rebuilds of silver rows; readers ignore runs that are not listed here.",
    (
        Column("ts", "TIMESTAMP", "When the run was finished, UTC."),
        SYMBOL,
        Column("run", "LONG", "Number of the run: its start in microseconds since 1970. The highest is the newest."),
        Column("spec", "SYMBOL", "Hash of the feature definitions and the emission interval."),
        Column("start", "TIMESTAMP", "Start of the rebuilt span, UTC."),
        Column("end", "TIMESTAMP", "End of the rebuilt span (exclusive), UTC."),
        Column("rows", "LONG", "Number of rows written."),
    ),
    ("ts", "symbol", "run"),
    "YEAR",
)

META_RETENTION = Table(
    "meta_retention",
    "meta",
    "Days removed from QuestDB after a verified backup; later rows for them are refused until they are restored.",
    (
        Column("ts", "TIMESTAMP", "The UTC day."),
        Column("table_name", "SYMBOL", "The table that the day was removed from."),
        Column("dropped", "BOOLEAN", "Whether the day is removed; false again once it is restored."),
        Column("changed_at", "TIMESTAMP", "When this was recorded, UTC."),
    ),
    ("ts", "table_name"),
    "YEAR",
)

GOLD_FORECASTS = Table(
    "gold_forecasts",
    "gold",
    "Every forecast served.",
    (
        Column("ts", "TIMESTAMP", "As of: the exchange time of the feature row, UTC."),
        SYMBOL,
        Column("target", "SYMBOL", "bid (price) or vol (root of the sum of squared log returns)."),
        Column("horizon_s", "INT", "Seconds ahead: 60, 120, 180, 240 or 300."),
        Column("value", "DOUBLE", "The forecast: quote currency for bid, dimensionless for vol."),
        Column("lower", "DOUBLE", "Lower end of the 80 % interval."),
        Column("upper", "DOUBLE", "Upper end of the 80 % interval."),
        Column("lower_95", "DOUBLE", "Lower end of the 95 % interval."),
        Column("upper_95", "DOUBLE", "Upper end of the 95 % interval."),
        Column("baseline", "DOUBLE", "Forecast of the best simple rule for the same row."),
        Column("model_version", "SYMBOL", "Name and version of the model in the registry, e.g. bid/3."),
        Column("spec", "SYMBOL", "Hash of the feature definitions."),
        Column("calibration", "SYMBOL", "Hash of the calibration state the interval came from."),
        EPOCH,
        SEQ,
        Column("latency_ms", "DOUBLE", "Milliseconds from the event's receipt to the forecast."),
    ),
    ("ts", "symbol", "target", "horizon_s", "model_version", "seq"),
)

GOLD_FORECAST_SCORES = Table(
    "gold_forecast_scores",
    "gold",
    "Each forecast with its outcome and loss.",
    (
        Column("ts", "TIMESTAMP", "As of: the exchange time of the feature row, UTC."),
        Column("due", "TIMESTAMP", "When the forecast could be judged: ts plus the horizon."),
        SYMBOL,
        Column("target", "SYMBOL", "bid or vol."),
        Column("horizon_s", "INT", "Seconds ahead."),
        Column("model_version", "SYMBOL", "Name and version of the model in the registry."),
        Column("value", "DOUBLE", "The forecast."),
        Column("baseline", "DOUBLE", "The baseline's forecast."),
        Column("truth", "DOUBLE", "The actual value, by the same definition as in training."),
        Column("loss", "DOUBLE", "Squared log error for bid, QLIKE for vol."),
        Column("baseline_loss", "DOUBLE", "The same loss for the baseline."),
        Column("inside_80", "BOOLEAN", "Whether the truth lies inside the 80 % interval."),
        Column("inside_95", "BOOLEAN", "Whether the truth lies inside the 95 % interval."),
        EPOCH,
        SEQ,
    ),
    ("ts", "symbol", "target", "horizon_s", "model_version", "seq"),
)

GOLD_CALIBRATIONS = Table(
    "gold_calibrations",
    "gold",
    "Calibration states of the intervals, each learnt from forecasts that had come due.",
    (
        Column("ts", "TIMESTAMP", "Due time of the newest forecast it learnt from, UTC."),
        Column("target", "SYMBOL", "bid or vol."),
        Column("model_version", "SYMBOL", "Name and version of the model whose intervals it gives."),
        Column("calibration", "SYMBOL", "Hash of the state; forecasts carry it."),
        Column("n", "LONG", "Number of scored forecasts behind it."),
        Column("state", "VARCHAR", "The state as JSON; docs/forecasting.md says how it becomes an interval."),
    ),
    ("ts", "model_version"),
)

GOLD_QUALITY = Table(
    "gold_quality",
    "gold",
    "Findings of the checks: quality every hour, replay and backup every day, the restore drill every week.",
    (
        Column("ts", "TIMESTAMP", "When it was checked, UTC."),
        SYMBOL,
        Column("target", "SYMBOL", "bid, vol, or NULL for measures of the feed."),
        Column("horizon_s", "INT", "Seconds ahead, or NULL."),
        Column(
            "measure",
            "SYMBOL",
            "skill, coverage_80, coverage_95, psi, freshness_s, holes, rollback, replay_differing, backup_verified "
            "or task.",
        ),
        Column("feature", "SYMBOL", "The feature, for psi; for task, the DAG and its task."),
        Column("value", "DOUBLE", "The figure."),
        Column("n", "LONG", "Number of rows behind the value; for task, the number of tries."),
        Column("detail", "VARCHAR", "Explanation, if needed."),
    ),
    ("ts", "symbol", "target", "horizon_s", "measure", "feature"),
    "MONTH",
)

SILVER_KEYS = ("ts", "symbol", "origin", "spec", "run", "epoch", "seq")


def silver_features(features: Sequence[Column]) -> Table:
    """The silver table for the given feature columns, which `features.spec` defines."""
    return Table(
        "silver_features",
        "silver",
        "The features of a symbol as of one event.",
        (
            Column("ts", "TIMESTAMP", "Exchange time of the event the row is as of, UTC."),
            RECEIVED_AT,
            SYMBOL,
            Column("origin", "SYMBOL", "live (as served) or rebuilt (from bronze in time order)."),
            Column("spec", "SYMBOL", "Hash of the feature definitions and the emission interval."),
            Column("run", "LONG", "0 for live rows; the number of the rebuild otherwise."),
            EPOCH,
            SEQ,
            Column("complete", "BOOLEAN", "True if no missing trade or quote gap is known in windows up to 60 min."),
            *features,
        ),
        SILVER_KEYS,
    )


OHLC_INTERVALS = {"1m": "1m", "5m": "5m", "15m": "15m", "1h": "1h", "1d": "1d"}


def _ohlc_view(interval: str, base: str) -> View:
    first = base == "bronze_trades"
    open_, close, ids = ("price", "price", "trade_id") if first else ("open", "close", None)
    first_id, last_id = (ids, ids) if ids else ("first_id", "last_id")
    sums = (
        "sum(qty) volume, sum(price * qty) notional, count() trades"
        if first
        else "sum(volume) volume, sum(notional) notional, sum(trades) trades"
    )
    high, low = ("price", "price") if first else ("high", "low")
    return View(
        f"gold_ohlc_{interval}",
        "gold",
        f"Candles of {interval}; open and close by trade id. The newest one is still running.",
        f"SELECT ts, symbol, arg_min({open_}, {first_id}) open, max({high}) high, min({low}) low, "
        f"arg_max({close}, {last_id}) close, {sums}, min({first_id}) first_id, max({last_id}) last_id "
        f"FROM {base} SAMPLE BY {interval}",
        base,
        materialized=True,
    )


def _candles_view(interval: str) -> View:
    """Candles with a flag that tells the running one: closed once the symbol has traded at or past its end."""
    unit = interval[-1]
    return View(
        f"gold_candles_{interval}",
        "gold",
        f"gold_ohlc_{interval} with vwap, and closed = false on the running candle.",
        f"SELECT c.ts, c.symbol, open, high, low, close, volume, notional / volume vwap, trades, first_id, last_id, "
        f"dateadd('{unit}', {interval[:-1]}, c.ts) <= newest.ts closed "
        f"FROM gold_ohlc_{interval} c CROSS JOIN (SELECT max(ts) ts FROM gold_ohlc_1m) newest",
        f"gold_ohlc_{interval}",
    )


def _skill_view(window: str, unit: str) -> View:
    return View(
        f"gold_skill_{window}",
        "gold",
        f"Live skill over the last {window}, per symbol, target and horizon: 1 - loss / baseline's loss, and coverage.",
        "SELECT symbol, target, horizon_s, count() n, 1 - sum(loss) / sum(baseline_loss) skill, "
        "avg(CASE WHEN inside_80 THEN 1.0 ELSE 0.0 END) coverage_80, "
        "avg(CASE WHEN inside_95 THEN 1.0 ELSE 0.0 END) coverage_95 "
        f"FROM gold_forecast_scores WHERE ts > dateadd('{unit}', -1, now())",
        "gold_forecast_scores",
    )


GOLD_VIEWS = (
    _ohlc_view("1m", "bronze_trades"),
    _ohlc_view("5m", "gold_ohlc_1m"),
    _ohlc_view("15m", "gold_ohlc_5m"),
    _ohlc_view("1h", "gold_ohlc_15m"),
    _ohlc_view("1d", "gold_ohlc_1h"),
    *(_candles_view(interval) for interval in OHLC_INTERVALS),
    _skill_view("1h", "h"),
    _skill_view("1d", "d"),
)

TABLES = (
    BRONZE_TRADES,
    BRONZE_QUOTES,
    BRONZE_GAPS,
    META_SYMBOLS,
    META_VERSIONS,
    META_EPOCHS,
    META_POSITIONS,
    META_RUNS,
    META_RETENTION,
    GOLD_FORECASTS,
    GOLD_FORECAST_SCORES,
    GOLD_CALIBRATIONS,
    GOLD_QUALITY,
)
