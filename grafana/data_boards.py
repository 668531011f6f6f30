"""Dashboards over the tables: market, features and forecasts."""

from grafana.model import Board, Panel, sql

MARKET = Board(
    "market",
    "Tradelake: market",
    "Price, spread, volume and completeness of the trades.",
    (
        Panel(
            "Candles, 1 minute",
            "gold_ohlc_1m; the newest candle is still running.",
            (
                sql(
                    "SELECT ts AS time, open, high, low, close, volume FROM gold_ohlc_1m "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' ORDER BY ts",
                    "table",
                ),
            ),
            "candlestick",
            width=16,
        ),
        Panel(
            "Complete minutes",
            "Share of minutes without missing trade ids, and ids still missing.",
            (
                sql(
                    "SELECT symbol, count() AS minutes, 100.0 * sum(CASE WHEN complete THEN 1 ELSE 0 END) / count() AS "
                    "complete_pct, sum(holes_inside + holes_before) AS holes_open, sum(trades) AS trades "
                    "FROM bronze_completeness "
                    "WHERE $__timeFilter(ts) GROUP BY symbol ORDER BY symbol",
                    "table",
                ),
            ),
            "table",
            width=8,
        ),
        Panel(
            "Best bid and ask",
            "From bronze_quotes, the last value of each step.",
            (
                sql(
                    "SELECT ts AS time, last(bid) AS bid, last(ask) AS ask FROM bronze_quotes "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Spread",
            "Mean of (ask - bid) / mid, in basis points.",
            (
                sql(
                    "SELECT ts AS time, symbol AS metric, avg(20000 * (ask - bid) / (ask + bid)) AS value "
                    "FROM bronze_quotes WHERE $__timeFilter(ts) SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Volume per minute",
            "Base units.",
            (
                sql(
                    "SELECT ts AS time, volume FROM gold_ohlc_1m "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Trades per minute",
            "By symbol.",
            (
                sql(
                    "SELECT ts AS time, symbol AS metric, trades AS value FROM gold_ohlc_1m "
                    "WHERE $__timeFilter(ts) ORDER BY ts"
                ),
            ),
        ),
    ),
)

FEATURES = Board(
    "features",
    "Tradelake: features",
    "The models' input features.",
    (
        Panel(
            "$feature",
            "The chosen feature, by symbol.",
            (
                sql(
                    'SELECT ts AS time, symbol AS metric, last("$feature") AS value FROM silver_features '
                    "WHERE $__timeFilter(ts) AND origin = 'live' SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
            width=24,
        ),
        Panel(
            "Realised volatility, 5 minutes",
            "Square root of rv_5m.",
            (
                sql(
                    "SELECT ts AS time, symbol AS metric, sqrt(last(rv_5m)) AS value FROM silver_features "
                    "WHERE $__timeFilter(ts) AND origin = 'live' SAMPLE BY $__interval ORDER BY ts"
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Rows per minute",
            "Feature rows emitted, and how many of them are complete.",
            (
                sql(
                    "SELECT ts AS time, count() AS rows, sum(CASE WHEN complete THEN 1 ELSE 0 END) AS complete "
                    "FROM silver_features WHERE $__timeFilter(ts) AND origin = 'live' AND symbol = '$symbol' "
                    "SAMPLE BY 1m ORDER BY ts"
                ),
            ),
        ),
    ),
    ("symbol", "feature"),
)

FORECASTS = Board(
    "forecasts",
    "Tradelake: forecasts",
    "Forecasts, their outcomes, and skill against the baseline.",
    (
        Panel(
            "Bid: forecast against truth",
            "Each forecast at the time it was due.",
            (
                sql(
                    "SELECT due AS time, value AS forecast, baseline, truth FROM gold_forecast_scores WHERE "
                    "$__timeFilter(ts) AND symbol = '$symbol' AND target = 'bid' AND horizon_s = $horizon ORDER BY due"
                ),
            ),
        ),
        Panel(
            "Volatility: forecast against truth",
            "Each forecast at the time it was due.",
            (
                sql(
                    "SELECT due AS time, value AS forecast, baseline, truth FROM gold_forecast_scores WHERE "
                    "$__timeFilter(ts) AND symbol = '$symbol' AND target = 'vol' AND horizon_s = $horizon ORDER BY due"
                ),
            ),
            unit="percentunit",
        ),
        Panel(
            "Bid: forecast with its 80 % interval",
            "As served.",
            (
                sql(
                    "SELECT ts AS time, value, lower, upper FROM gold_forecasts WHERE $__timeFilter(ts) "
                    "AND symbol = '$symbol' AND target = 'bid' AND horizon_s = $horizon ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Skill against the baseline",
            "1 - loss / baseline loss per 15 minutes; above 0 is better than the best simple rule.",
            (
                sql(
                    "SELECT ts AS time, concat(target, ' ', symbol) AS metric, "
                    "1 - sum(loss) / sum(baseline_loss) AS value "
                    "FROM gold_forecast_scores WHERE $__timeFilter(ts) AND horizon_s = $horizon "
                    "SAMPLE BY 15m ORDER BY ts"
                ),
            ),
        ),
        Panel(
            "Interval coverage",
            "Share of truths inside the 80 % and 95 % intervals.",
            (
                sql(
                    "SELECT target, horizon_s, count() AS n, "
                    "100.0 * sum(CASE WHEN inside_80 THEN 1 ELSE 0 END) / count() AS inside_80_pct, "
                    "100.0 * sum(CASE WHEN inside_95 THEN 1 ELSE 0 END) / count() AS inside_95_pct, "
                    "1 - sum(loss) / sum(baseline_loss) AS skill FROM gold_forecast_scores "
                    "WHERE $__timeFilter(ts) AND symbol = '$symbol' "
                    "GROUP BY target, horizon_s ORDER BY target, horizon_s",
                    "table",
                ),
            ),
            "table",
        ),
        Panel(
            "Model versions",
            "Versions in service, with their first and newest forecast.",
            (
                sql(
                    "SELECT model_version, target, min(ts) AS first, max(ts) AS newest, count() AS forecasts "
                    "FROM gold_forecasts WHERE $__timeFilter(ts) GROUP BY model_version, target ORDER BY newest DESC",
                    "table",
                ),
            ),
            "table",
        ),
    ),
    ("symbol", "horizon"),
)
