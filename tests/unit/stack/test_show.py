"""What people read: aligned, complete, with secrets only where they are asked for."""

from pathlib import Path

from stack import show
from stack.layout import layout
from stack.local import scratch_settings
from stack.report import ProcessReport, Report, TableReport
from stack.table import processes

WELL = ProcessReport("running", True, 7, 3725, {"API_PORT": 5050}, 12.4, "", None)
ILL = ProcessReport("running", False, 8, 5, {"X_PORT": 1}, 100.0, "HTTP 503", 42)


def test_columns_are_aligned() -> None:
    assert show.columns([("A", "B"), ("long", "x")]) == "A     B\n----  -\nlong  x"


def test_status_shows_what_is_ill_and_how_far_behind() -> None:
    tables = {"bronze_trades": TableReport(1234567, "2026-01-01T00:00:00.000Z")}
    text = show.status(Report("simulator", False, 112.4, {"api": WELL, "consumer": ILL}, tables))
    api, consumer = (next(line for line in text.splitlines() if line.startswith(n)) for n in ("api", "consumer"))
    assert api.split() == ["api", "running", "healthy", "7", "1:02:05", "12", "MB"]
    assert consumer.split() == ["consumer", "running", "UNHEALTHY", "8", "0:00:05", "100", "MB", "42", "HTTP", "503"]
    assert "1,234,567  2026-01-01T00:00:00.000Z" in text
    assert "112 MB (PSS)" in text


def test_where_things_are_names_every_process_and_no_secret(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path)
    table = processes(settings, layout(settings))
    text = show.where_things_are(settings, table, Report("simulator", True, 1.0, {p.name: WELL for p in table}, {}))
    assert all(process.name in text for process in table)
    assert settings.api_url in text
    assert settings.questdb_password.get_secret_value() not in text


def test_secrets_shows_each_one(tmp_path: Path) -> None:
    settings = scratch_settings(tmp_path)
    text = show.secrets(settings)
    assert f"QUESTDB_PASSWORD           {settings.questdb_password.get_secret_value()}" in text
    assert "QUESTDB_USER" in text
