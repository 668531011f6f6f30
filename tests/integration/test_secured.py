"""Kafka with SASL and TLS, Redis with TLS, an object store with a region: as an operator or a cloud would run them."""

import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from confluent_kafka import TopicPartition
from confluent_kafka.admin import ScramCredentialInfo, ScramMechanism, UserScramCredentialUpsertion
from pydantic import SecretStr

from lakehouse.errors import FatalError, RetryableError
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.objects import Objects
from lakehouse.stores.redis import FEATURES, Redis
from stack.layout import layout
from stack.servers import buckets
from stack.servers.object_store import NAME, prepare_store
from stack.servers.preparation import prepare
from tests.integration.lakes import feature_row
from tests.support.servers import LocalServers, free_ports, scratch_settings

WAYS = ("SASL_PLAINTEXT", "SASL_SSL", "SSL")
USER, PASSWORD, WRONG = "lake", "the-right-password", "another-password"
REGION = "eu-central-1"
LOGIN = "org.apache.kafka.common.security"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """With a certificate of ours, which is its own CA, and that of a stranger."""
    made = tmp_path_factory.mktemp("secured")
    for name in ("ours", "stranger"):
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
        command += ["-days", "2", "-subj", f"/CN={name}", "-addext", "subjectAltName=IP:127.0.0.1"]
        command += ["-keyout", str(made / f"{name}.key"), "-out", str(made / f"{name}.pem")]
        subprocess.run(command, check=True, capture_output=True)
    (made / "both.pem").write_text((made / "ours.key").read_text() + (made / "ours.pem").read_text())
    return made


@pytest.fixture(scope="module")
def secured(folder: Path) -> Iterator[dict[str, Settings]]:
    """The native servers, which also listen as an operator's would: the settings of each way in."""
    settings = scratch_settings(folder / "var", s3_region=REGION)
    state = layout(settings).state
    ports = dict(zip((*WAYS, "redis"), free_ports(len(WAYS) + 1), strict=True))
    prepare(settings, layout(settings))
    prepare_store(settings, layout(settings))
    with (state / "kafka/server.properties").open("a") as file:
        file.write(_kafka(settings, folder, {way: ports[way] for way in WAYS}))
    with (state / "redis/redis.conf").open("a") as file:
        file.write(_redis(folder, ports["redis"]))
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("MINIO_REGION", REGION)
        servers = LocalServers(settings)
        try:
            servers.start("kafka", "redis", NAME)
            _make_scram_user(settings)
            yield {"redis": _through_redis(settings, ports["redis"], folder), "minio": settings} | {
                way: _through_kafka(settings, way, ports[way], folder) for way in WAYS
            }
        finally:
            servers.stop_all()


def _kafka(settings: Settings, folder: Path, ports: dict[str, int]) -> str:
    """Later lines win; the plain listener stays, for the broker itself and for making the user."""
    ways = {"PLAINTEXT": settings.kafka_port} | ports
    listeners = ",".join(f"{way}://127.0.0.1:{port}" for way, port in ways.items())
    return (
        f"listeners={listeners},CONTROLLER://127.0.0.1:{settings.kafka_controller_port}\n"
        f"advertised.listeners={listeners}\n"
        f"listener.security.protocol.map=CONTROLLER:PLAINTEXT,{','.join(f'{way}:{way}' for way in ways)}\n"
        "listener.name.sasl_plaintext.sasl.enabled.mechanisms=PLAIN\n"
        "listener.name.sasl_plaintext.plain.sasl.jaas.config="
        f'{LOGIN}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";\n'
        "listener.name.sasl_ssl.sasl.enabled.mechanisms=SCRAM-SHA-512\n"
        f"listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={LOGIN}.scram.ScramLoginModule required;\n"
        f"ssl.keystore.type=PEM\nssl.keystore.location={folder / 'both.pem'}\n"
    )


def _redis(folder: Path, port: int) -> str:
    return (
        f"tls-port {port}\ntls-auth-clients no\ntls-ca-cert-file {folder / 'ours.pem'}\n"
        f"tls-cert-file {folder / 'ours.pem'}\ntls-key-file {folder / 'ours.key'}\n"
        f"user {USER} on >{PASSWORD} ~* &* +@all\n"
    )


def _make_scram_user(settings: Settings) -> None:
    info = ScramCredentialInfo(ScramMechanism.SCRAM_SHA_512, 4096)
    client = kafka.admin(settings)
    kafka.ensure_topics(client, settings.kafka_partitions)
    made = client.alter_user_scram_credentials([UserScramCredentialUpsertion(USER, info, PASSWORD.encode())])
    made[USER].result()


def _through_kafka(settings: Settings, way: str, port: int, folder: Path) -> Settings:
    known = {"kafka_security": way, "kafka_port": port, "kafka_ca": str(folder / "ours.pem")}
    known |= {"kafka_sasl_mechanism": "PLAIN" if way == "SASL_PLAINTEXT" else "SCRAM-SHA-512"}
    return settings.model_copy(update={**known, "kafka_user": USER, "kafka_password": SecretStr(PASSWORD)})


def _through_redis(settings: Settings, port: int, folder: Path) -> Settings:
    known = {"redis_tls": True, "redis_port": port, "redis_ca": str(folder / "ours.pem")}
    return settings.model_copy(update={**known, "redis_user": USER, "redis_password": SecretStr(PASSWORD)})


@pytest.mark.parametrize("way", WAYS)
def test_a_message_goes_through_kafka(secured: dict[str, Settings], way: str) -> None:
    kafka.reach(secured[way])
    producer = kafka.producer(secured[way])
    producer.produce(EVENTS_TOPIC, way.encode(), "BTC/USD", partition=0)
    assert producer.flush(10) == 0
    with closing(kafka.consumer(secured[way], group="secured")) as consumer:
        high = kafka.watermarks(consumer, TopicPartition(EVENTS_TOPIC, 0))[1]
        consumer.assign([TopicPartition(EVENTS_TOPIC, 0, high - 1)])
        message = consumer.poll(10)
        assert message is not None
        assert message.value() == way.encode()


@pytest.mark.parametrize("way", ["SASL_PLAINTEXT", "SASL_SSL"])
def test_a_wrong_password_of_kafka_is_told_soon(
    secured: dict[str, Settings], way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    wrong = secured[way].model_copy(update={"kafka_password": SecretStr(WRONG)})
    begun = time.monotonic()
    with pytest.raises(FatalError, match=rf"{kafka.bootstrap(wrong)} \({way}\).*KAFKA_PASSWORD") as caught:
        kafka.reach(wrong)
    assert time.monotonic() - begun < kafka.TIMEOUT_S / 2
    said = capfd.readouterr()
    assert WRONG not in f"{caught.value}{said.out}{said.err}"


def test_kafka_whose_certificate_is_not_trusted_is_named(secured: dict[str, Settings], folder: Path) -> None:
    wrong = secured["SSL"].model_copy(update={"kafka_ca": str(folder / "stranger.pem")})
    with pytest.raises(RetryableError, match=rf"{kafka.bootstrap(wrong)} \(SSL\).*certificate verify failed"):
        kafka.reach(wrong, timeout_s=1.0)


def test_kafka_that_wants_tls_from_us_is_named(secured: dict[str, Settings]) -> None:
    wrong = secured["SSL"].model_copy(update={"kafka_security": "PLAINTEXT"})
    with pytest.raises(RetryableError, match=rf"{kafka.bootstrap(wrong)} \(PLAINTEXT\)"):
        kafka.reach(wrong, timeout_s=1.0)


@pytest.mark.parametrize("user", ["", USER])
def test_a_row_goes_through_redis(secured: dict[str, Settings], user: str) -> None:
    default = {"redis_user": "", "redis_password": secured["minio"].redis_password}
    row = feature_row(secured["minio"], "BTC/USD", 2)
    with closing(Redis(secured["redis"].model_copy(update={} if user else default))) as redis:
        redis.publish(FEATURES, [row])
        assert redis.latest(FEATURES, "BTC/USD") == row
        assert next(redis.follow(FEATURES, ("BTC/USD",))) == row


def test_redis_whose_certificate_is_not_trusted_is_named(secured: dict[str, Settings], folder: Path) -> None:
    wrong = secured["redis"].model_copy(update={"redis_ca": str(folder / "stranger.pem")})
    says = rf"Redis at 127.0.0.1:{wrong.redis_port}: .*CERTIFICATE_VERIFY_FAILED"
    with closing(Redis(wrong)) as redis, pytest.raises(RetryableError, match=says):
        redis.ping()


def test_a_wrong_password_of_redis_is_told(secured: dict[str, Settings]) -> None:
    wrong = secured["redis"].model_copy(update={"redis_password": SecretStr(WRONG)})
    says = rf"Redis at 127.0.0.1:{wrong.redis_port} refuses us.*REDIS_PASSWORD"
    with closing(Redis(wrong)) as redis, pytest.raises(FatalError, match=says) as caught:
        redis.ping()
    assert WRONG not in str(caught.value)


def test_an_object_store_is_told_its_region(secured: dict[str, Settings]) -> None:
    settings = secured["minio"]
    buckets.ensure(settings)
    with closing(Objects(settings)) as objects:
        objects.put("x", b"1")
        assert objects.get("x") == b"1"
    elsewhere = settings.model_copy(update={"s3_region": "us-east-1"})
    with closing(Objects(elsewhere)) as objects:
        if settings.object_store == "minio":
            with pytest.raises(FatalError, match="region"):
                objects.put("x", b"2")
        else:  # SeaweedFS takes any region that the signature was made for
            objects.put("x", b"2")
            assert objects.get("x") == b"2"
