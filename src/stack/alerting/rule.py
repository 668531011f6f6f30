"""One alert, and the Prometheus rules that follow from it: its condition, and the absence of what it reads; pure."""

from dataclasses import dataclass
from typing import Literal

RUNBOOKS = "docs/runbooks"


@dataclass(frozen=True, slots=True)
class AlertRule:
    """One line of the table of alerts.

    Attributes:
        name: Alertmanager groups by it: one message per name.
        expr: fires for each series that it returns.
        lasting: how long ``expr`` must hold.
        needs: the series that ``expr`` reads. Where one is absent, the alert fires, too: no data is not "all well".
        runbook: name of a page under docs/runbooks, without its suffix.
        unknown_after: how long ``needs`` may be absent; as ``lasting`` by default.
    """

    name: str
    expr: str
    lasting: str
    summary: str
    runbook: str
    needs: tuple[str, ...] = ()
    severity: Literal["warning", "critical"] = "warning"
    unknown_after: str | None = None

    def documents(self) -> list[dict[str, object]]:
        """The rules as Prometheus reads them."""
        absent = " or ".join(f"absent({series})" for series in self.needs)
        unknown = f"No data: {' or '.join(self.needs)} is missing, so nothing tells whether this is well."
        found = [self._document(self.expr, self.lasting, self.summary)]
        if absent:
            found.append(self._document(absent, self.unknown_after or self.lasting, unknown))
        return found

    def _document(self, expr: str, lasting: str, summary: str) -> dict[str, object]:
        return {
            "alert": self.name,
            "expr": expr,
            "for": lasting,
            "labels": {"severity": self.severity},
            "annotations": {"summary": summary, "runbook": f"{RUNBOOKS}/{self.runbook}.md"},
        }


def rules_document(rules: tuple[AlertRule, ...]) -> dict[str, object]:
    """The content of Prometheus' file of rules."""
    found = [document for rule in rules for document in rule.documents()]
    return {"groups": [{"name": "tradelake", "rules": found}]}
