"""The second verdict, `tests.chaos.told` and `tests.chaos.witness`: what cost something must be told in time."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.chaos.told import Inflicted, Stale, Told, untold
from tests.chaos.witness import Witness, log_lines
from tests.support.servers import scratch_settings

AT = datetime(2026, 3, 1, 15, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return AT + timedelta(seconds=seconds)


def fault(kind: str, target: str, seconds: float = 20.0) -> Inflicted:
    return Inflicted(kind, (target,), AT, after(seconds))


def told(seconds: float, about: str, source: str = "status") -> Told:
    return Told(after(seconds), about, source, "")


def test_what_cost_nothing_need_not_be_told() -> None:
    paused = fault("pause", "consumer")
    assert untold([paused], [], [], []) == []
    assert untold([paused], [], [Stale(after(5), "bronze_quotes")], []) == [paused]
    assert untold([paused], [], [Stale(after(21), "bronze_quotes")], []) == []
    assert untold([paused], [], [Stale(after(5), "gold_forecasts")], []) == []


def test_quotes_out_of_sight_are_a_cost_of_the_feed_alone() -> None:
    cut, paused = fault("cut", "simulator"), fault("pause", "consumer")
    assert untold([cut, paused], [], [], [after(3)]) == [cut]


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ("pause", "consumer", told(4, "consumer")),
        ("cut", "simulator", told(20, "BTC/USD", "gap")),
        ("cut", "simulator", told(20, "producer", "log")),
        ("kill", "producer", told(1, "producer", "restart")),
        ("drop", "bronze_quotes", told(30, "consumer", "log")),
        ("power", "questdb", told(30, "consumer", "restart")),
        ("drop", "bronze_trades", told(30, "consumer", "dead letter")),
    ],
)
def test_what_tells_of_a_fault(kind: str, target: str, said: Told) -> None:
    hurt, old = fault(kind, target), [Stale(after(5), "bronze_quotes")]
    assert untold([hurt], [said], old, []) == []
    for late in (-1.0, 61.0):
        assert untold([hurt], [Told(after(late), said.about, said.source, "")], old, []) == [hurt]


@pytest.mark.parametrize(
    ("kind", "target", "said"),
    [
        ("pause", "consumer", told(4, "redis")),
        ("pause", "questdb", told(4, "BTC/USD", "gap")),
        ("cut", "simulator", told(1, "simulator")),
        # That QuestDB was away does not tell that rows are gone.
        ("power", "questdb", told(1, "questdb", "restart")),
        ("power", "questdb", told(1, "questdb")),
        ("drop", "silver_features", told(1, "questdb", "log")),
    ],
)
def test_what_does_not(kind: str, target: str, said: Told) -> None:
    hurt = fault(kind, target)
    assert untold([hurt], [said], [Stale(after(5), "bronze_quotes")], []) == [hurt]


def test_errors_in_a_log_tell_and_so_do_rows_read_again() -> None:
    text = (
        "2026-03-01T15:00:01.250Z INFO a: fine\n"
        "2026-03-01T15:00:02.000Z WARNING a: again in 0.1 s\n"
        "2026-03-01T15:00:03.000Z WARNING a: committed up to 7, but QuestDB holds 3; reading again from there\n"
        "Traceback\n"
        "2026-03-01T15:00:04.500Z ERROR lakehouse: FatalError: gone\n"
    )
    assert [(one.at, one.about) for one in log_lines("consumer", text)] == [
        (after(3), "consumer"),
        (after(4.5), "consumer"),
    ]


def test_where_nothing_runs_every_process_is_told_and_every_table_is_old(tmp_path: Path) -> None:
    witness = Witness(scratch_settings(tmp_path), ("questdb", "predictor"))
    with ThreadPoolExecutor(2) as pool:
        witness.look(pool)
    assert {(one.about, one.source) for one in witness.told} == {("questdb", "status"), ("predictor", "status")}
    assert {one.table for one in witness.stale} == {"bronze_quotes", "silver_features", "gold_forecasts"}
