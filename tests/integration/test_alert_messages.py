"""From a process that is gone to a mailbox: real Prometheus and Alertmanager, a mail and a web server of ours."""

import json
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from email.message import EmailMessage
from http.server import HTTPServer
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry, start_http_server
from pydantic import SecretStr

from lakehouse.settings import Settings
from stack.alerting.alertmanager import DEFAULT_TIMES, MessageTimes, recipients
from stack.alerting.prometheus import TIMES
from stack.alerting.rule import rules_document
from stack.alerting.rules import RULES
from stack.layout import layout
from stack.servers.monitoring import prepare_monitoring, write_receivers
from tests.integration.lakes import eventually
from tests.support.alerting import seconds
from tests.support.servers import LocalServers, free_ports, scratch_settings
from tests.support.sinks import MailSink, WebhookSink, sinks

LASTING_S = 3
QUICK = MessageTimes("1s", "2s", "1h")
# Several times what Prometheus and Alertmanager wait between two looks: a second message would have come by then.
QUIET_S = 10
MAX_WAIT_S = 120
SUBJECT = "[{}] ProcessGone (critical), tradelake simulator"
TARGETS = ("producer", "consumer", "predictor", "score", "simulator")


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """A lake that names a mail server, a webhook and Slack; its secrets are told apart by what they say."""
    mail, web = free_ports(2)
    return scratch_settings(
        tmp_path / "var",
        alert_email="person@example.org",
        smtp_host="127.0.0.1",
        smtp_port=mail,
        smtp_tls=False,
        alert_webhook=f"http://127.0.0.1:{web}/hook-s3cret",
        alert_slack_webhook=f"http://127.0.0.1:{web}/slack-s3cret",
        alert_runbooks="https://example.org/tradelake",
    )


@pytest.fixture
def inbox(settings: Settings) -> Iterator[tuple[MailSink, WebhookSink]]:
    port = int(settings.alert_webhook.get_secret_value().split(":")[2].split("/")[0])
    with sinks(settings.smtp_port, port) as started:
        yield started


@pytest.fixture
def targets(settings: Settings) -> Iterator[dict[str, Callable[[], None]]]:
    """Everything that Prometheus scrapes, as pages without a metric; each with what makes it stop."""
    ports = {name: getattr(settings, f"{name}_metrics_port") for name in TARGETS}
    ports |= {"api": settings.api_port, "questdb": settings.questdb_metrics_port}
    stops = {name: _page(port) for name, port in ports.items()}
    yield stops
    for stop in stops.values():
        stop()


def _page(port: int) -> Callable[[], None]:
    server: HTTPServer
    server, thread = start_http_server(port, addr="127.0.0.1", registry=CollectorRegistry())

    def stop() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return stop


@pytest.fixture
def monitoring(
    settings: Settings, inbox: tuple[MailSink, WebhookSink], targets: dict[str, Callable[[], None]]
) -> Iterator[LocalServers]:
    """Both servers with the alert on processes alone, in a hurry."""
    paths = layout(settings)
    paths.logs.mkdir(parents=True)
    prepare_monitoring(settings, paths)
    gone = next(rule for rule in RULES if rule.name == "ProcessGone")
    home = paths.state / "prometheus"
    (home / "rules.json").write_text(json.dumps(rules_document((replace(gone, lasting=f"{LASTING_S}s"),))))
    config = json.loads((home / "prometheus.json").read_text())
    config["global"] = dict.fromkeys(config["global"], "1s")
    (home / "prometheus.json").write_text(json.dumps(config))
    write_receivers(settings, paths.state / "alertmanager", QUICK)
    servers = LocalServers(settings)
    try:
        servers.start("alertmanager", "prometheus")
        yield servers
    finally:
        servers.stop_all()


@pytest.mark.usefixtures("monitoring")
def test_one_message_when_a_process_is_gone_and_one_when_it_is_back(
    settings: Settings, inbox: tuple[MailSink, WebhookSink], targets: dict[str, Callable[[], None]]
) -> None:
    mail, web = inbox
    time.sleep(LASTING_S + QUIET_S)
    assert (mail.messages, web.posts) == ([], [])

    targets.pop("score")()
    eventually(lambda: mail.messages and len(web.posts) == 2, LASTING_S + MAX_WAIT_S)
    time.sleep(QUIET_S)
    assert _told(mail, web) == ["FIRING"]
    text = _text(mail.messages[0])
    assert text.startswith("FIRING: score does not answer Prometheus.\n")
    assert "runbook: https://example.org/tradelake/docs/runbooks/process-gone.md" in text
    assert (mail.messages[0]["To"], mail.messages[0]["From"]) == ("person@example.org", "person@example.org")

    targets["score"] = _page(settings.score_metrics_port)
    eventually(lambda: len(mail.messages) == 2 and len(web.posts) == 4, MAX_WAIT_S)
    time.sleep(QUIET_S)
    assert _told(mail, web) == ["FIRING", "RESOLVED"]
    assert _text(mail.messages[1]).startswith("RESOLVED: score does not answer Prometheus.\n")


def test_a_message_comes_within_two_minutes_of_the_rules_delay() -> None:
    """Prometheus notices at a scrape and a look at its rules; Alertmanager then waits for more of the kind."""
    waits = sum(map(seconds, TIMES.values())) + seconds(DEFAULT_TIMES.group_wait)
    assert waits < MAX_WAIT_S
    # Recovery is told at the next look at a group.
    assert waits - seconds(DEFAULT_TIMES.group_wait) + seconds(DEFAULT_TIMES.group_interval) < MAX_WAIT_S


def test_every_receiver_is_one_that_alertmanager_knows_and_its_secrets_stay_in_its_file(settings: Settings) -> None:
    every = settings.model_copy(
        update={
            "smtp_user": "person",
            "smtp_password": SecretStr("mail-s3cret"),
            "alert_telegram_token": SecretStr("7:telegram-s3cret"),
            "alert_telegram_chat": -100123,
        }
    )
    assert recipients(every) == ["email", "webhook", "slack", "telegram"]
    paths = layout(every)
    paths.logs.mkdir(parents=True)
    prepare_monitoring(every, paths)
    servers = LocalServers(every)
    try:
        servers.start("alertmanager")
        shown = httpx.get(f"http://127.0.0.1:{every.alertmanager_port}/api/v2/status").text
    finally:
        servers.stop_all()
    held = [path for path in paths.state.rglob("*") if path.is_file() and "s3cret" in path.read_text(errors="replace")]
    assert [path.name for path in held] == ["alertmanager.json"]
    assert held[0].stat().st_mode & 0o077 == 0
    # Of the webhook Debian's Alertmanager shows the address on its page, which only this machine reaches.
    assert [word for word in ("mail-s3cret", "slack-s3cret", "telegram-s3cret") if word in shown] == []
    assert "hook-s3cret" in shown


def test_without_receivers_alerts_are_kept_and_sent_to_nobody(tmp_path: Path) -> None:
    nobody = scratch_settings(tmp_path / "var")
    assert recipients(nobody) == []
    paths = layout(nobody)
    paths.logs.mkdir(parents=True)
    prepare_monitoring(nobody, paths)
    servers = LocalServers(nobody)
    try:
        servers.start("alertmanager")
    finally:
        servers.stop_all()


def _text(message: EmailMessage) -> str:
    (part,) = message.iter_parts()
    assert part.get_content_type() == "text/plain"
    return str(part.get_content()).replace("\r\n", "\n")


def _told(mail: MailSink, web: WebhookSink) -> list[str]:
    """What was told so far, the same to each: by mail, to the webhook and to Slack."""
    words = [status for message in mail.messages for status in ("FIRING", "RESOLVED") if status in message["Subject"]]
    assert [message["Subject"] for message in mail.messages] == [SUBJECT.format(word) for word in words]
    assert [post["status"].upper() for post in web.of("/hook-s3cret")] == words
    assert [post["attachments"][0]["title"] for post in web.of("/slack-s3cret")] == [SUBJECT.format(w) for w in words]
    return words
