"""The table of alerts, the only one: Prometheus, Alertmanager, Grafana and the tests read it; pure."""

from stack.alerting.rule import AlertRule

# What every lake runs and Prometheus scrapes.
JOBS = ("producer", "consumer", "predictor", "score", "api", "questdb")
# Limits that `tradelake status` judges by, too.
MAX_FEATURE_AGE_S = 120
MAX_TRADE_AGE_MIN = 15
MAX_BACKUP_AGE_H = 26
MAX_DRILL_AGE_H = 9 * 24
MAX_HOLE_MIN = 10
# Until the first backup the age counts from the lake's first forecast: a new lake is no alarm, an old one is.
BACKUP_AGE_H = "(time() - (backup_last_verified_timestamp_seconds > 0 or lake_began_timestamp_seconds > 0)) / 3600"
DRILL_AGE_H = "(time() - (drill_last_passed_timestamp_seconds > 0 or lake_began_timestamp_seconds > 0)) / 3600"
_LIVE = 'source=~"ws|sim"'
_DEAD = '{__name__=~"dead_letters_total|producer_dead_letters_total"}'
_SAVES = 'task=~"(backup_daily|restore_drill_weekly)[.].*"'

PROCESSES = (
    AlertRule(
        "ProcessGone",
        "up == 0",
        "1m",
        "{{ $labels.job }} does not answer Prometheus.",
        "process-gone",
        tuple(f'up{{job="{job}"}}' for job in JOBS),
        "critical",
    ),
    AlertRule(
        "ProcessRestarting",
        "changes(process_start_time_seconds[15m]) > 2",
        "0m",
        "{{ $labels.job }} was started again {{ $value }} times within 15 minutes.",
        "process-gone",
        ("process_start_time_seconds",),
        "critical",
        "5m",
    ),
    AlertRule(
        "RedisGone",
        "redis_up == 0",
        "1m",
        "Redis does not answer the consumer.",
        "process-gone",
        ("redis_up",),
        "critical",
    ),
    AlertRule(
        "LakeUnread",
        "time() - lake_facts_timestamp_seconds > 120",
        "1m",
        "For {{ $value | humanizeDuration }} the scorer could not read the facts behind these alerts from QuestDB.",
        "process-gone",
        ("lake_facts_timestamp_seconds",),
        "critical",
    ),
    AlertRule(
        "DiskNearlyFull",
        "min(disk_free_ratio) < 0.1",
        "5m",
        "Only {{ $value | humanizePercentage }} of the disk under the lake is free.",
        "questdb-full",
        ("disk_free_ratio",),
        "critical",
    ),
)

FEED = (
    AlertRule(
        "FeedSilent",
        "time() - max(ws_last_frame_timestamp_seconds) > 60",
        "1m",
        "No frame from the exchange for {{ $value | humanizeDuration }}; heartbeats come every second.",
        "feed-down",
        ("ws_last_frame_timestamp_seconds",),
        "critical",
    ),
    AlertRule(
        "NoNewTrades",
        f"sum by (symbol) (increase(quotes_ingested_total[{MAX_TRADE_AGE_MIN}m])) > 0 "
        f"unless on (symbol) (sum by (symbol) (increase(trades_ingested_total{{{_LIVE}}}[{MAX_TRADE_AGE_MIN}m])) > 0)",
        "5m",
        "{{ $labels.symbol }}: quotes flow, but no new trade was stored for 15 minutes.",
        "no-new-trades",
        ("quotes_ingested_total", f"trades_ingested_total{{{_LIVE}}}"),
        "critical",
    ),
    AlertRule(
        "TradeIdsBelowTop",
        "sum by (symbol) (increase(trade_ids_below_top_total[5m])) > 5",
        "1m",
        "{{ $labels.symbol }}: newer trades come with lower ids and are dropped as duplicates.",
        "no-new-trades",
        ("trade_ids_below_top_total",),
        "critical",
    ),
    AlertRule(
        "LedgerHoles",
        "ledger_ids_missing > 0",
        f"{MAX_HOLE_MIN}m",
        "{{ $labels.symbol }}: {{ $value }} trade ids have been missing in bronze for 10 minutes, says the ledger.",
        "hole-open",
        ("ledger_ids_missing",),
        "critical",
    ),
    AlertRule(
        "DeadLetters",
        f"sum(increase({_DEAD}[10m])) > 10",
        "1m",
        "{{ $value | humanize }} messages went to the dead-letter topic within 10 minutes.",
        "dead-letters",
    ),
)

PIPELINE = (
    AlertRule(
        "TableSuspended",
        "table_suspended > 0",
        "1m",
        "QuestDB suspended {{ $labels.table }}: it accepts rows and shows none of them.",
        "questdb-full",
        ("table_suspended",),
        "critical",
        "5m",
    ),
    AlertRule(
        "ViewInvalid",
        "view_invalid > 0",
        "1m",
        "QuestDB declared {{ $labels.view }} invalid: it is not refreshed any more.",
        "questdb-full",
        ("view_invalid",),
        "critical",
        "5m",
    ),
    AlertRule(
        "ConsumerLag",
        'sum(deriv(consumer_lag_records[10m])) > 50 or sum(consumer_lag_records{topic="market.events"}) > 50000',
        "10m",
        "The consumer is behind Kafka: the lag grows, or live events wait by the ten thousand.",
        "lag",
        ("consumer_lag_records",),
    ),
    AlertRule(
        "FeaturesStale",
        f'max by (symbol) (feature_freshness_seconds{{job="consumer"}}) > {MAX_FEATURE_AGE_S}',
        "2m",
        "{{ $labels.symbol }}: the newest feature row is {{ $value | humanizeDuration }} old.",
        "lag",
        ('feature_freshness_seconds{job="consumer"}',),
    ),
    AlertRule(
        "NoForecasts",
        "sum(increase(feature_rows_written_total[5m])) > 0 unless sum(increase(forecasts_stored_total[5m])) > 0",
        "1m",
        "Feature rows are written, but no forecast was stored for 5 minutes.",
        "no-forecasts",
        ("feature_rows_written_total", "forecasts_stored_total"),
        "critical",
        "5m",
    ),
)

MODELS = (
    AlertRule(
        "CoverageOff",
        'abs(forecast_day_coverage_ratio{interval="80"} - 0.8) > 0.1 '
        'or abs(forecast_day_coverage_ratio{interval="95"} - 0.95) > 0.1',
        "1h",
        "{{ $labels.target }}: over a day, the coverage of the {{ $labels.interval }} % interval was off by "
        "{{ $value | humanizePercentage }}.",
        "model-rolled-back",
        ("forecast_day_coverage_ratio",),
    ),
    AlertRule(
        "SkillBelowZero",
        "forecast_day_skill_ratio < 0",
        "1h",
        "{{ $labels.target }}: over a day, the served forecast was worse than the best simple rule: skill "
        "{{ $value | humanize }}.",
        "model-rolled-back",
        ("forecast_day_skill_ratio",),
    ),
)

UPKEEP = (
    AlertRule(
        "BackupOld",
        f"{BACKUP_AGE_H} > {MAX_BACKUP_AGE_H}",
        "10m",
        "The last verified backup, or the lake without one, is {{ $value | humanize }} hours old.",
        "backup",
        ("lake_began_timestamp_seconds > 0",),
        "critical",
    ),
    AlertRule(
        "DrillOld",
        f"{DRILL_AGE_H} > {MAX_DRILL_AGE_H}",
        "10m",
        "The last restore drill that passed, or the lake without one, is {{ $value | humanize }} hours old.",
        "backup",
        ("lake_began_timestamp_seconds > 0",),
    ),
    AlertRule(
        "BackupFailed",
        f"task_failed{{{_SAVES}}} > 0",
        "1m",
        "{{ $labels.task }} failed: the backup, or what tests it, is not done.",
        "backup",
        ("task_failed",),
        "critical",
        "3h",
    ),
    AlertRule(
        "DagFailed",
        f"task_failed{{{_SAVES.replace('=~', '!~')}}} > 0",
        "1m",
        "The last run of Airflow's task {{ $labels.task }} failed.",
        "dag-failed",
        ("task_failed",),
        unknown_after="3h",
    ),
    AlertRule(
        "DagsSilent",
        'time() - max(task_ended_timestamp_seconds{task=~"quality_hourly[.].*"}) > 3 * 3600',
        "5m",
        "Airflow's hourly check last ended {{ $value | humanizeDuration }} ago.",
        "dag-failed",
        ('task_ended_timestamp_seconds{task=~"quality_hourly[.].*"}',),
        unknown_after="3h",
    ),
)

RULES = (*PROCESSES, *FEED, *PIPELINE, *MODELS, *UPKEEP)
