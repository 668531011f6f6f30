"""Every view: the ledger of completeness, the rows to train on, and the candles of `schema`; pure."""

from lakehouse.schema import GOLD_VIEWS, View

_IDS = "CASE WHEN trade_id > 0 THEN trade_id END"
_SOURCES = ("ws", "rest", "file", "sim")
_BY_SOURCE = ", ".join(f"sum(CASE WHEN source = '{name}' THEN 1 ELSE 0 END) {name}" for name in _SOURCES)

BRONZE_MINUTES = View(
    "bronze_minutes",
    "bronze",
    "Trades and ids of each symbol and minute, for bronze_completeness; trades without ids have no part in the ids.",
    f"SELECT ts, symbol, count() trades, count_distinct(trade_id) distinct_trades, count_distinct({_IDS}) ids, "
    f"min({_IDS}) first_id, max({_IDS}) last_id, {_BY_SOURCE} FROM bronze_trades SAMPLE BY 1m",
    "bronze_trades",
    materialized=True,
)

# An exchange time that differs by a microsecond between REST and WebSocket can put an id into the minute beside its
# neighbours'. Then the minutes' id ranges overlap (`between` < 0), and what one lacks the other has: they are judged
# together. `inside` counts ids missing within a minute's range. A minute without ids (of a file) neither hides the hole
# that it lies in, whose minutes with ids count it, nor is it complete then.
_COMPLETENESS = """
WITH minutes AS (
  SELECT *, last_id - first_id + 1 - ids inside FROM bronze_minutes
), beside AS (
  SELECT *,
    lag(last_id) IGNORE NULLS OVER (PARTITION BY symbol ORDER BY ts) last_before,
    coalesce(lag(inside) IGNORE NULLS OVER (PARTITION BY symbol ORDER BY ts), 0) before_inside,
    lead(first_id) IGNORE NULLS OVER (PARTITION BY symbol ORDER BY ts) first_after,
    coalesce(lead(inside) IGNORE NULLS OVER (PARTITION BY symbol ORDER BY ts), 0) after_inside
  FROM minutes
), around AS (
  SELECT *,
    coalesce(first_id - last_before - 1, 0) before,
    coalesce(first_after - coalesce(last_id, last_before) - 1, 0) after
  FROM beside
), judged AS (
  SELECT *,
    inside + CASE WHEN before < 0 THEN before + before_inside ELSE before END
      + CASE WHEN after < 0 THEN after + after_inside ELSE after END missing,
    trades - distinct_trades + CASE WHEN before + before_inside + inside < 0
      THEN -(before + before_inside + inside) ELSE 0 END doubles
  FROM around
), density AS (
  SELECT symbol sparse FROM (SELECT symbol, dense FROM meta_symbols LATEST ON ts PARTITION BY symbol) WHERE NOT dense
)
SELECT ts, symbol, trades, first_id, last_id,
  CASE WHEN sparse IS NULL THEN inside END holes_inside, CASE WHEN sparse IS NULL THEN before END holes_before,
  doubles, ws, rest, file, sim,
  doubles = 0 AND (missing = 0 OR (first_id IS NULL AND after <= 0) OR sparse IS NOT NULL) complete
FROM judged LEFT JOIN density ON symbol = sparse
"""

BRONZE_COMPLETENESS = View(
    "bronze_completeness",
    "bronze",
    "The ledger, per symbol and minute: trades, first and last id, ids missing inside the minute and between it and "
    "the symbol's minute before (negative where two minutes share a range of ids), doubles, trades by source, and "
    "whether the minute is complete: no id missing inside or at either edge, none doubled. A minute without ids is not "
    "complete between ids that have a hole. Where ids are not dense, holes are NULL and only doubles count. "
    "The newest minute is judged by what has come so far.",
    " ".join(_COMPLETENESS.split()),
    "bronze_minutes",
)


def _silver_training(interval_ms: int) -> View:
    # Joins on the rebuilt rows alone, which are few beside the live ones, so that those stream by unsorted.
    bucket = f"ts / {max(1, interval_ms * 1000)} bucket"
    sql = f"""
WITH rebuilt AS (
  SELECT s.ts, s.symbol, s.spec, s.run, s.bucket
  FROM (SELECT ts, symbol, spec, run, {bucket} FROM silver_features WHERE origin = 'rebuilt') s
  JOIN (SELECT DISTINCT symbol, run FROM meta_runs) f ON s.symbol = f.symbol AND s.run = f.run
), newest AS (
  SELECT symbol, spec, bucket, max(run) run FROM rebuilt
), served AS (
  SELECT DISTINCT l.symbol, l.spec, l.bucket
  FROM (SELECT symbol, spec, {bucket} FROM silver_features WHERE origin = 'live' AND complete) l
  JOIN newest n ON l.symbol = n.symbol AND l.spec = n.spec AND l.bucket = n.bucket
), chosen AS (
  SELECT DISTINCT r.ts, r.symbol, r.spec, r.run
  FROM rebuilt r
  JOIN newest n ON r.symbol = n.symbol AND r.spec = n.spec AND r.bucket = n.bucket AND r.run = n.run
  LEFT JOIN served v ON r.symbol = v.symbol AND r.spec = v.spec AND r.bucket = v.bucket
  WHERE v.bucket IS NULL
)
SELECT * FROM silver_features WHERE origin = 'live' AND complete
UNION ALL
SELECT s.* FROM (SELECT * FROM silver_features WHERE origin = 'rebuilt') s
JOIN chosen c ON s.ts = c.ts AND s.symbol = c.symbol AND s.spec = c.spec AND s.run = c.run
"""
    return View(
        "silver_training",
        "silver",
        "The rows to train on, per emission interval: the live row that was complete when it was served, else the "
        "rows of the newest finished rebuild. Filter by `spec`: rows of several definitions may lie side by side.",
        " ".join(sql.split()),
        "silver_features",
    )


def views(interval_ms: int) -> tuple[View, ...]:
    """Every view of the lake, those that others build on first.

    Args:
        interval_ms: FEATURE_INTERVAL_MS; 0: a row per event.
    """
    return (*GOLD_VIEWS, BRONZE_MINUTES, BRONZE_COMPLETENESS, _silver_training(interval_ms))
