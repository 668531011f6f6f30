"""What clients in `lakehouse.stores` are told of servers run by others: who we are, whom to trust, which region."""

from pathlib import Path

import pytest
from pydantic import SecretStr

from lakehouse.errors import FatalError
from lakehouse.settings import Settings, load_settings
from lakehouse.stores import kafka
from lakehouse.stores.objects import Objects
from lakehouse.stores.redis import Redis
from stack.layout import layout
from stack.servers.mlflow_server import s3_environment
from stack.servers.preparation import prepare


def settings(**given: object) -> Settings:
    return load_settings(_env_file=None, **given)


def test_kafka_on_loopback_needs_no_more_than_its_address() -> None:
    assert kafka.connection(settings()) == {"bootstrap.servers": "127.0.0.1:9092", "security.protocol": "PLAINTEXT"}


def test_kafka_is_told_the_user_only_where_it_asks_for_one() -> None:
    given = {"kafka_user": "lake", "kafka_password": SecretStr("hunter2")}
    assert "sasl.password" not in kafka.connection(settings(kafka_security="SSL", **given))
    known = kafka.connection(settings(kafka_security="SASL_SSL", **given))
    assert known["sasl.mechanism"] == "SCRAM-SHA-512"
    assert (known["sasl.username"], known["sasl.password"]) == ("lake", "hunter2")
    assert "ssl.ca.location" not in known


@pytest.mark.parametrize("given", [{"kafka_user": "lake"}, {"kafka_password": SecretStr("hunter2")}])
def test_a_user_without_a_password_is_refused_before_anything_connects(given: dict[str, object]) -> None:
    with pytest.raises(FatalError, match="SASL_SSL needs KAFKA_USER and KAFKA_PASSWORD") as caught:
        kafka.producer(settings(kafka_security="SASL_SSL", **given))
    assert "hunter2" not in str(caught.value)


def test_a_misspelt_way_in_is_named_with_the_right_ones(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SECURITY", "TLS")
    with pytest.raises(FatalError, match=r"KAFKA_SECURITY.*'SASL_SSL'"):
        load_settings()


@pytest.mark.parametrize("text", [None, "no certificate"])
def test_a_ca_file_without_certificates_is_named(tmp_path: Path, text: str | None) -> None:
    path = tmp_path / "ca.pem"
    if text is not None:
        path.write_text(text)
    with pytest.raises(FatalError, match=f"KAFKA_CA={path}"):
        kafka.admin(settings(kafka_security="SSL", kafka_ca=str(path)))
    with pytest.raises(FatalError, match=f"REDIS_CA={path}"):
        Redis(settings(redis_tls=True, redis_ca=str(path)))


@pytest.mark.parametrize("given", [{"kafka_security": "SASL_SSL"}, {"redis_tls": True}])
def test_our_own_servers_are_not_started_for_clients_that_want_others(tmp_path: Path, given: dict[str, object]) -> None:
    elsewhere = settings(var_dir=tmp_path / "var", **given)
    with pytest.raises(FatalError, match="remove them"):
        prepare(elsewhere, layout(elsewhere))
    assert not elsewhere.var_dir.exists()


def test_the_region_is_told_to_every_client_of_the_object_store() -> None:
    here = settings(s3_endpoint="s3.example.org", s3_region="eu-central-1", s3_secret_key=SecretStr("hunter2"))
    signed = Objects(here)._client.presigned_get_object("data-lake", "x")
    assert "%2Feu-central-1%2Fs3%2Faws4_request" in signed
    assert s3_environment(here)["AWS_DEFAULT_REGION"] == "eu-central-1"
