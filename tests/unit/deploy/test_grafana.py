"""The dashboards in `grafana` and the rules in `docker/prometheus` are those that the panels and alerts declare."""

import json

from grafana.build import DASHBOARDS, files


def test_the_generated_files_are_current() -> None:
    for path, text in files().items():
        assert path.read_text() == text, "run `python -m grafana.build`"


def test_uids_are_fixed_and_distinct() -> None:
    uids = [json.loads(p.read_text())["uid"] for p in files() if p.suffix == ".json"]
    assert len(uids) == len(set(uids)) == len(DASHBOARDS)
