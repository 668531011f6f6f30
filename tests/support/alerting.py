"""Series of a healthy lake, and of one fault each, as `promtool test rules` reads them: a value every 15 seconds."""

from dataclasses import dataclass

from stack.alerting.rules import JOBS

STEP_S = 15
# start+step, or values of which the last one goes on.
CLOCK = f"0+{STEP_S}"
SYMBOL = 'symbol="BTC/USD"'
HEALTHY = {
    **{f'up{{job="{job}"}}': "1" for job in JOBS},
    'process_start_time_seconds{job="producer"}': "1",
    "redis_up": "1",
    "lake_facts_timestamp_seconds": CLOCK,
    "disk_free_ratio": "0.5",
    "ws_last_frame_timestamp_seconds": CLOCK,
    f'quotes_ingested_total{{{SYMBOL},source="sim"}}': "0+300",
    f'trades_ingested_total{{{SYMBOL},source="sim"}}': "0+75",
    f"trade_ids_below_top_total{{{SYMBOL}}}": "0",
    f"ledger_ids_missing{{{SYMBOL}}}": "0",
    'dead_letters_total{reason="refused"}': "7",
    'table_suspended{table="bronze_trades"}': "0",
    'view_invalid{view="gold_ohlc_1m"}': "0",
    'consumer_lag_records{topic="market.events",partition="0"}': "100",
    f'feature_freshness_seconds{{job="consumer",{SYMBOL}}}': "1",
    f"feature_rows_written_total{{{SYMBOL}}}": "0+15",
    'forecasts_stored_total{target="bid"}': "0+15",
    'forecast_day_coverage_ratio{target="vol",interval="80"}': "0.78",
    'forecast_day_coverage_ratio{target="vol",interval="95"}': "0.96",
    'forecast_day_skill_ratio{target="vol"}': "0.04",
    "lake_began_timestamp_seconds": "1",
    "backup_last_verified_timestamp_seconds": CLOCK,
    "drill_last_passed_timestamp_seconds": CLOCK,
    'task_failed{task="backup_daily.backup"}': "0",
    'task_failed{task="quality_hourly.quality"}': "0",
    'task_ended_timestamp_seconds{task="quality_hourly.quality"}': CLOCK,
}


@dataclass(frozen=True)
class Fault:
    """What one fault changes in the series, and the seconds after which its alert's condition is true."""

    alert: str
    series: str
    values: str
    true_after_s: int = 0

    def lake(self) -> dict[str, str]:
        """The series of a lake that has this fault and no other."""
        return HEALTHY | {self.series: self.values}


FAULTS = (
    Fault("ProcessGone", 'up{job="api"}', "0"),
    Fault("ProcessRestarting", 'process_start_time_seconds{job="producer"}', "1 2 3 4", 45),
    Fault("RedisGone", "redis_up", "0"),
    Fault("LakeUnread", "lake_facts_timestamp_seconds", "0", 135),
    Fault("DiskNearlyFull", "disk_free_ratio", "0.05"),
    Fault("FeedSilent", "ws_last_frame_timestamp_seconds", "0", 75),
    Fault("NoNewTrades", f'trades_ingested_total{{{SYMBOL},source="sim"}}', "5", 15),
    Fault("TradeIdsBelowTop", f"trade_ids_below_top_total{{{SYMBOL}}}", "0+10", 15),
    Fault("LedgerHoles", f"ledger_ids_missing{{{SYMBOL}}}", "3"),
    Fault("DeadLetters", 'dead_letters_total{reason="refused"}', "0+50", 15),
    Fault("TableSuspended", 'table_suspended{table="bronze_trades"}', "1"),
    Fault("ViewInvalid", 'view_invalid{view="gold_ohlc_1m"}', "1"),
    Fault("ConsumerLag", 'consumer_lag_records{topic="market.events",partition="0"}', "0+1500", 15),
    Fault("ConsumerLag", 'consumer_lag_records{topic="market.events",partition="0"}', "60000"),
    Fault("FeaturesStale", f'feature_freshness_seconds{{job="consumer",{SYMBOL}}}', CLOCK, 135),
    Fault("NoForecasts", 'forecasts_stored_total{target="bid"}', "5", 15),
    Fault("CoverageOff", 'forecast_day_coverage_ratio{target="vol",interval="80"}', "0.65"),
    Fault("CoverageOff", 'forecast_day_coverage_ratio{target="vol",interval="95"}', "0.8"),
    Fault("SkillBelowZero", 'forecast_day_skill_ratio{target="vol"}', "-0.02"),
    Fault("BackupFailed", 'task_failed{task="backup_daily.backup"}', "1"),
    Fault("BackupFailed", 'task_failed{task="restore_drill_weekly.drill"}', "1"),
    Fault("DagFailed", 'task_failed{task="quality_hourly.quality"}', "1"),
    Fault("DagsSilent", 'task_ended_timestamp_seconds{task="quality_hourly.quality"}', "0", 3 * 3600 + STEP_S),
)
# Ages of days: alone, with a value each four minutes (what is older than five, Prometheus forgets).
LONG_STEP_S = 240
BEGAN = {"lake_began_timestamp_seconds": "1"}
OLD = (
    # Without any backup the age counts from the lake's beginning.
    ("BackupOld", BEGAN | {"backup_last_verified_timestamp_seconds": "0"}, 26 * 3600),
    ("BackupOld", BEGAN | {"backup_last_verified_timestamp_seconds": "7200"}, 28 * 3600),
    ("DrillOld", BEGAN | {"drill_last_passed_timestamp_seconds": "0"}, 9 * 24 * 3600),
)


def seconds(lasting: str) -> int:
    """A duration as Prometheus writes it, one number and one unit."""
    return int(lasting[:-1]) * {"s": 1, "m": 60, "h": 3600}[lasting[-1]]
