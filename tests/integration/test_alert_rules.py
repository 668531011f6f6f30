"""Every alert as Prometheus' own promtool judges it: it fires in its bad series after its delay, and else not."""

import json
import re
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

from stack.alerting.rule import AlertRule, rules_document
from stack.alerting.rules import RULES
from stack.layout import ROOT
from tests.support.alerting import FAULTS, HEALTHY, LONG_STEP_S, OLD, STEP_S, Fault, seconds

BY_NAME = {rule.name: rule for rule in RULES}
FIRING = 'count by (alertname) (ALERTS{alertstate="firing"})'
# At so many seconds these alerts fire, with so many series each.
Expected = Mapping[int, Mapping[str, int]]


def _full(values: str, count: int) -> str:
    """A series to its end: the last number, or the last step, goes on."""
    *first, last = values.split()
    step = "" if "+" in last[1:] else "+0"
    return " ".join((*first, f"{last}{step}x{count}"))


def _promtool(
    folder: Path,
    series: Mapping[str, str],
    checks: dict[str, object],
    step_s: int,
    until_s: int,
    rules: tuple[AlertRule, ...] = RULES,
) -> None:
    test = {
        "interval": f"{step_s}s",
        "input_series": [{"series": s, "values": _full(v, until_s // step_s + 2)} for s, v in series.items()],
        **checks,
    }
    (folder / "rules.json").write_text(json.dumps(rules_document(rules)))
    document = {"rule_files": ["rules.json"], "evaluation_interval": f"{step_s}s", "tests": [test]}
    path = folder / "test.yml"
    path.write_text(json.dumps(document))
    command = [str(ROOT / "var/servers/promtool"), "test", "rules", str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def _judge(
    folder: Path,
    series: Mapping[str, str],
    expected: Expected,
    step_s: int = STEP_S,
    rules: tuple[AlertRule, ...] = RULES,
) -> None:
    tests = [
        {
            "expr": FIRING,
            "eval_time": f"{at}s",
            "exp_samples": [{"labels": f'{{alertname="{name}"}}', "value": n} for name, n in fires.items()],
        }
        for at, fires in expected.items()
    ]
    _promtool(folder, series, {"promql_expr_test": tests}, step_s, max(expected), rules)


def test_a_healthy_lake_fires_nothing(tmp_path: Path) -> None:
    _judge(tmp_path, HEALTHY, {at: {} for at in (0, 60, 600, 3600, 4 * 3600)})


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{fault.alert}-{i}" for i, fault in enumerate(FAULTS)])
def test_a_fault_fires_its_alert_after_its_delay_and_no_other(tmp_path: Path, fault: Fault) -> None:
    at = fault.true_after_s + seconds(BY_NAME[fault.alert].lasting)
    fires = {fault.alert: 1}
    _judge(tmp_path, fault.lake(), {at - STEP_S: {}, at: fires, at + 60: fires})


@pytest.mark.parametrize(("name", "series", "true_after_s"), OLD, ids=[f"{case[0]}-{i}" for i, case in enumerate(OLD)])
def test_what_is_days_old_fires(tmp_path: Path, name: str, series: dict[str, str], true_after_s: int) -> None:
    at = true_after_s + seconds(BY_NAME[name].lasting)
    expected = {at - 4 * LONG_STEP_S: {}, at + 4 * LONG_STEP_S: {name: 1}}
    _judge(tmp_path, series, expected, LONG_STEP_S, (BY_NAME[name],))


@pytest.mark.parametrize("rule", [rule for rule in RULES if rule.needs], ids=lambda rule: rule.name)
def test_no_data_fires_too(tmp_path: Path, rule: AlertRule) -> None:
    names = {re.split("[{ ]", need)[0] for need in rule.needs}
    series = {name: values for name, values in HEALTHY.items() if name.split("{")[0] not in names}
    assert len(series) < len(HEALTHY)
    after = seconds(rule.unknown_after or rule.lasting)
    # absent() has the labels that its selector requires.
    fires = {rule.name: len({tuple(re.findall(r'\w+="[^"]*"', need)) for need in rule.needs})}
    _judge(tmp_path, series, {after - STEP_S: {}, after: fires}, rules=(rule,))


def test_every_alert_has_a_fault_and_says_what_no_data_means() -> None:
    assert {rule.name for rule in RULES} == {fault.alert for fault in FAULTS} | {name for name, _, _ in OLD}
    # A process that has set no message aside exports no series of them.
    assert [rule.name for rule in RULES if not rule.needs] == ["DeadLetters"]


def test_the_message_names_what_is_wrong_and_its_runbook(tmp_path: Path) -> None:
    fault = next(fault for fault in FAULTS if fault.alert == "LedgerHoles")
    alert = {
        "exp_labels": {"severity": "critical", "symbol": "BTC/USD"},
        "exp_annotations": {
            "summary": "BTC/USD: 3 trade ids have been missing in bronze for 10 minutes, says the ledger.",
            "runbook": "docs/runbooks/hole-open.md",
        },
    }
    test = {"eval_time": "11m", "alertname": fault.alert, "exp_alerts": [alert]}
    _promtool(tmp_path, fault.lake(), {"alert_rule_test": [test]}, STEP_S, 660)
