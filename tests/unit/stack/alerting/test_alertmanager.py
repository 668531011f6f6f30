"""Whom alerts go to follows from the settings, and half a receiver is refused."""

from typing import Any

import pytest
from pydantic import SecretStr

from lakehouse.errors import FatalError
from lakehouse.settings import Settings, load_settings
from stack.alerting.alertmanager import alertmanager_document, recipients


def settings(**given: object) -> Settings:
    return load_settings(_env_file=None, source="simulator", **given)


def test_nobody_is_told_unless_somebody_is_named() -> None:
    assert recipients(settings()) == []
    assert recipients(settings(alert_email="a@x.org", alert_webhook="http://x/")) == ["email", "webhook"]


def test_a_mail_server_with_a_user_gets_the_password_and_others_none() -> None:
    def mail(**given: object) -> Any:
        document: Any = alertmanager_document(settings(alert_email="a@x.org,b@x.org", **given))
        return document["receivers"][0]["email_configs"][0]

    assert mail()["from"] == "a@x.org"
    assert "auth_username" not in mail()
    given = mail(smtp_user="me", smtp_password=SecretStr("pw"), smtp_host="mail.x.org", smtp_port=25)
    assert (given["auth_username"], given["auth_password"], given["smarthost"]) == ("me", "pw", "mail.x.org:25")
    assert given["require_tls"] is True


def test_a_bot_without_a_chat_is_refused() -> None:
    with pytest.raises(FatalError, match="ALERT_TELEGRAM_CHAT is not"):
        recipients(settings(alert_telegram_token="7:abc"))
