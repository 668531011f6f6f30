"""The dashboards and alert rules in `grafana` are those that the panels declare."""

import json

from grafana.alerts import ALERTS
from grafana.build import DASHBOARDS, files


def test_the_generated_files_are_current() -> None:
    for path, text in files().items():
        assert path.read_text() == text, "run `python -m grafana.build`"


def test_uids_are_fixed_and_distinct() -> None:
    uids = [json.loads(p.read_text())["uid"] for p in files() if p.suffix == ".json"]
    assert len(uids) == len(set(uids)) == len(DASHBOARDS)
    assert len({alert.uid for alert in ALERTS}) == len(ALERTS)


def test_every_alert_names_a_runbook_that_exists() -> None:
    root = next(iter(files())).parents[2]
    missing = [alert.runbook for alert in ALERTS if not (root / alert.runbook).exists()]
    assert missing == []
