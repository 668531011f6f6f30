"""Writes the dashboards (JSON) and alert rules (YAML) under grafana/ from the boards and alerts declared beside it."""

import json
from pathlib import Path
from typing import Any

import yaml
from grafana_foundation_sdk.builders import candlestick, dashboard, stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.cog.variants import Dataquery
from grafana_foundation_sdk.models import dashboard as models

from grafana.alerts import ALERTS
from grafana.data_boards import FEATURES, FORECASTS, MARKET
from grafana.model import VARIABLES, Alert, Board, Panel, Query
from grafana.service_boards import OPERATIONS, PIPELINE

HERE = Path(__file__).parent
DASHBOARDS = (MARKET, FEATURES, FORECASTS, PIPELINE, OPERATIONS)
SOURCES = {
    "sql": models.DataSourceRef(type_val="grafana-postgresql-datasource", uid="questdb"),
    "prom": models.DataSourceRef(type_val="prometheus", uid="prometheus"),
}
BUILDERS: dict[str, Any] = {
    "timeseries": timeseries.Panel,
    "stat": stat.Panel,
    "table": table.Panel,
    "candlestick": candlestick.Panel,
}
HEIGHT = 8
COLUMNS = 24


class Target(Dataquery):
    """A query as Grafana's PostgreSQL and Prometheus data sources store it."""

    def __init__(self, query: Query, ref_id: str) -> None:
        self.query = query
        self.ref_id = ref_id

    def to_json(self) -> dict[str, object]:
        """The target's JSON."""
        shared = {"refId": self.ref_id, "datasource": SOURCES[self.query.source].to_json()}
        if self.query.source == "prom":
            return shared | {"expr": self.query.text, "legendFormat": self.query.legend, "range": True}
        return shared | {"rawSql": self.query.text, "rawQuery": True, "format": self.query.shape, "editorMode": "code"}


def panel_json(panel: Panel, x: int, y: int) -> Any:
    """One panel at its place on the grid."""
    built = BUILDERS[panel.kind]().title(panel.title).description(panel.about).unit(panel.unit)
    built = built.grid_pos(models.GridPos(h=HEIGHT, w=panel.width, x=x, y=y))
    for i, query in enumerate(panel.queries):
        built = built.with_target(_Built(Target(query, chr(ord("A") + i))))
    return built.datasource(SOURCES[panel.queries[0].source])


class _Built:
    """A finished query where the SDK wants a builder."""

    def __init__(self, target: Target) -> None:
        self._target = target

    def build(self) -> Target:
        """The query itself."""
        return self._target


def dashboard_json(board: Board) -> str:
    """A whole dashboard; panels flow from left to right into rows of 24 columns."""
    built = dashboard.Dashboard(board.title).uid(board.uid).description(board.about).tags(["tradelake"])
    built = built.refresh("5s").time(board.span, "now").timezone("utc").editable()
    for name in board.variables:
        label, query, multi = VARIABLES[name]
        variable = dashboard.QueryVariable(name).label(label).datasource(SOURCES["sql"]).query(query).multi(multi)
        built = built.with_variable(variable.refresh(models.VariableRefresh.ON_DASHBOARD_LOAD))
    x = y = 0
    for panel in board.panels:
        if x + panel.width > COLUMNS:
            x, y = 0, y + HEIGHT
        built = built.with_panel(panel_json(panel, x, y))
        x += panel.width
    return json.dumps(built.build(), cls=JSONEncoder, indent=1, sort_keys=True) + "\n"


def alert_json(alert: Alert) -> dict[str, object]:
    """One rule in Grafana's provisioning format: the query, its last value, and the threshold."""
    source = SOURCES[alert.query.source]
    window = {"from": 600, "to": 0}
    model = Target(alert.query, "A").to_json() | {"instant": True, "range": False}
    reduce_ = {"refId": "B", "type": "reduce", "expression": "A", "reducer": "last"}
    condition = {"evaluator": {"type": alert.when, "params": [alert.limit]}}
    threshold = {"refId": "C", "type": "threshold", "expression": "B", "conditions": [condition]}
    expression = {"relativeTimeRange": window, "datasourceUid": "__expr__"}
    return {
        "uid": alert.uid,
        "title": alert.title,
        "condition": "C",
        "for": alert.lasting,
        "noDataState": alert.no_data,
        "execErrState": "Error",
        "labels": {"severity": alert.severity},
        "annotations": {"summary": alert.summary, "runbook": alert.runbook},
        "data": [
            {"refId": "A", "relativeTimeRange": window, "datasourceUid": source.uid, "model": model},
            {"refId": "B", "model": reduce_, **expression},
            {"refId": "C", "model": threshold, **expression},
        ],
    }


def files() -> dict[Path, str]:
    """Every generated file and its content."""
    written = {HERE / "dashboards" / f"{board.name}.json": dashboard_json(board) for board in DASHBOARDS}
    group = {"orgId": 1, "name": "tradelake", "folder": "Tradelake", "interval": "1m"}
    rules = {"apiVersion": 1, "groups": [group | {"rules": [alert_json(alert) for alert in ALERTS]}]}
    note = "# Generated by `python -m grafana.build`; do not edit.\n"
    written[HERE / "provisioning/alerting/rules.yaml"] = note + yaml.safe_dump(rules, sort_keys=False, width=120)
    return written


if __name__ == "__main__":
    for path, text in files().items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
