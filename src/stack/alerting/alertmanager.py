"""Alertmanager's configuration: who `.env` names gets a message when an alert fires and when it is over; pure."""

from dataclasses import asdict, dataclass

from lakehouse.errors import FatalError
from lakehouse.settings import Settings


@dataclass(frozen=True, slots=True)
class MessageTimes:
    """When messages go out: after ``group_wait``, again at most each ``group_interval`` if something changed.

    An alert that goes on is told again after ``repeat_interval``, as a reminder.
    """

    group_wait: str = "30s"
    group_interval: str = "1m"
    repeat_interval: str = "24h"


DEFAULT_TIMES = MessageTimes()
TITLE = '[{{ .Status | toUpper }}] {{ .CommonLabels.alertname }} ({{ .CommonLabels.severity }}), tradelake {{ "%s" }}'
TEXT = """\
{{ range .Alerts }}{{ .Status | toUpper }}: {{ .Annotations.summary }}
since {{ .StartsAt.UTC.Format "2006-01-02 15:04:05" }} UTC\
{{ if eq .Status "resolved" }}, over at {{ .EndsAt.UTC.Format "15:04:05" }} UTC{{ end }}
runbook: %s{{ .Annotations.runbook }}

{{ end }}"""


def alertmanager_document(settings: Settings, times: MessageTimes = DEFAULT_TIMES) -> dict[str, object]:
    """What ``--config.file`` holds, secrets included.

    Raises:
        FatalError: a receiver is named by half.
    """
    route = {"receiver": "person", "group_by": ["alertname"], **asdict(times)}
    return {"route": route, "receivers": [{"name": "person", **_receivers(settings)}]}


def recipients(settings: Settings) -> list[str]:
    """The kinds of receivers that `.env` names; empty if alerts reach nobody."""
    return [name.removesuffix("_configs") for name in _receivers(settings)]


def _receivers(settings: Settings) -> dict[str, list[dict[str, object]]]:
    title, body = TITLE % settings.source, TEXT % _base(settings.alert_runbooks)
    found: dict[str, list[dict[str, object]]] = {}
    if settings.alert_email:
        found["email_configs"] = [_email(settings, title, body)]
    if url := settings.alert_webhook.get_secret_value():
        found["webhook_configs"] = [{"url": url, "send_resolved": True}]
    if url := settings.alert_slack_webhook.get_secret_value():
        found["slack_configs"] = [{"api_url": url, "title": title, "text": body, "send_resolved": True}]
    if token := settings.alert_telegram_token.get_secret_value():
        if not settings.alert_telegram_chat:
            raise FatalError("ALERT_TELEGRAM_TOKEN is set and ALERT_TELEGRAM_CHAT is not: set both in .env, or neither")
        chat = {"bot_token": token, "chat_id": settings.alert_telegram_chat, "parse_mode": ""}
        found["telegram_configs"] = [chat | {"message": f"{title}\n{body}", "send_resolved": True}]
    return found


def _email(settings: Settings, title: str, body: str) -> dict[str, object]:
    mail: dict[str, object] = {
        "to": settings.alert_email,
        "from": settings.alert_email_from or settings.alert_email.split(",")[0],
        "smarthost": f"{settings.smtp_host}:{settings.smtp_port}",
        "require_tls": settings.smtp_tls,
        "headers": {"Subject": title},
        "text": body,
        # Plain text alone: Alertmanager's own page of HTML shows every label twice.
        "html": "",
        "send_resolved": True,
    }
    if settings.smtp_user:
        mail |= {"auth_username": settings.smtp_user, "auth_password": settings.smtp_password.get_secret_value()}
    return mail


def _base(url: str) -> str:
    return url.rstrip("/") + "/" if url else ""
