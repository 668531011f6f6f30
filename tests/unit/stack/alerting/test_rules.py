"""The table of alerts: each has a name of its own and a runbook that exists and names it."""

from stack.alerting.rule import RUNBOOKS, AlertRule
from stack.alerting.rules import RULES
from stack.layout import ROOT


def test_names_are_distinct() -> None:
    assert len({rule.name for rule in RULES}) == len(RULES)


def test_every_alert_has_a_runbook_that_names_it() -> None:
    missing = []
    for rule in RULES:
        page = ROOT / RUNBOOKS / f"{rule.runbook}.md"
        if not page.exists() or f"`{rule.name}`" not in page.read_text():
            missing.append((rule.name, rule.runbook))
    assert missing == []


def test_what_an_alert_reads_is_an_alert_when_it_is_absent() -> None:
    rule = AlertRule("Full", "room < 1", "5m", "No room.", "room", ("room", 'up{job="x"}'), unknown_after="9m")
    known, unknown = rule.documents()
    assert (known["expr"], known["for"]) == ("room < 1", "5m")
    assert (unknown["alert"], unknown["expr"]) == ("Full", 'absent(room) or absent(up{job="x"})')
    assert unknown["for"] == "9m"
