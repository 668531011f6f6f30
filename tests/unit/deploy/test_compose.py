"""`docker-compose.yml` runs the same servers, with the same settings, as the native stack."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from lakehouse.settings import Settings
from stack.alerting.prometheus import prometheus_document
from stack.envfile import secret_names
from stack.servers import configurations

ROOT = Path(__file__).parents[3]
COMPOSE = yaml.safe_load((ROOT / "docker-compose.yml").read_text())
SERVICES: dict[str, Any] = COMPOSE["services"]
SETTINGS = Settings(_env_file=None)  # type: ignore[call-arg]


def properties(text: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in text.splitlines())


def test_questdb_has_the_properties_of_the_native_stack() -> None:
    environment = SERVICES["questdb"]["environment"]
    native = properties(configurations.questdb_conf(SETTINGS))
    left_out = {name for name in native if name.endswith("bind.to") or name == "config.validation.strict"}
    for name in native.keys() - left_out:
        held = environment["QDB_" + name.upper().replace(".", "_")]
        assert held == native[name] or held.startswith("${"), name


def test_kafka_has_the_properties_of_the_native_stack() -> None:
    environment = SERVICES["kafka"]["environment"]
    native = properties(configurations.kafka_properties(SETTINGS, Path("/var/lib/kafka/data")))
    own = {"listeners", "advertised.listeners", "listener.security.protocol.map", "controller.quorum.voters"}
    for name in native.keys() - own:
        assert environment["KAFKA_" + name.upper().replace(".", "_")] == native[name], name


def test_every_port_is_published_on_loopback_only() -> None:
    ports = [port for service in SERVICES.values() for port in service.get("ports", ())]
    assert len(ports) >= 10
    assert [port for port in ports if not port.startswith("127.0.0.1:")] == []


def test_every_published_port_is_a_setting_with_the_same_default() -> None:
    text = (ROOT / "docker-compose.yml").read_text()
    found = re.findall(r"\$\{([A-Z0-9_]+_PORT):-(\d+)\}", text)
    assert found
    for name, default in found:
        assert Settings.model_fields[name.lower()].default == int(default), name


def test_every_required_secret_is_a_setting_or_of_a_server_that_only_compose_runs() -> None:
    only_compose = {"POSTGRES_PASSWORD", "GRAFANA_PASSWORD"}
    required = set(re.findall(r"\$\{([A-Z0-9_]+):\?", (ROOT / "docker-compose.yml").read_text()))
    assert required - only_compose <= {name.upper() for name in secret_names()}


def test_every_setting_reaches_the_containers_or_is_fixed_there() -> None:
    """A setting in .env that silently did nothing would be worse than none."""
    ours = COMPOSE["x-hosts"]
    # Hosts and ports inside are the containers' own (the ports of .env say where they are published), and so are paths.
    own = {"SERVERS_DIR", "QUESTDB_USER", "QUESTDB_READER", "S3_ADMIN_USER", "S3_ACCESS_KEY", "MLFLOW_S3_ACCESS_KEY"}
    # Kafka and Redis are the file's own, without TLS.
    own |= {name.upper() for name in Settings.model_fields if name.startswith(("kafka_s", "kafka_u", "kafka_ca"))}
    own |= {"KAFKA_PASSWORD", "REDIS_USER", "REDIS_TLS", "REDIS_CA"}
    own |= {"S3_SECURE", "SIMULATOR_FAULTS", *(name.upper() for name in secret_names())}
    # Whom alerts go to is the affair of one container, and some of it is secret.
    told = {name for name in SERVICES["alert-receivers"]["environment"] if name.startswith(("ALERT_", "SMTP_"))}
    assert told == {name.upper() for name in Settings.model_fields if name.startswith(("alert_", "smtp_"))}
    missing = {name.upper() for name in Settings.model_fields} - set(ours) - own - told
    assert sorted(name for name in missing if not name.endswith("_PORT")) == []
    # Null passes on what .env or the environment says, and leaves the default to the settings.
    assert {name for name, value in ours.items() if value is None} <= {n.upper() for n in Settings.model_fields}


def test_each_image_of_ours_is_built_by_one_service_and_never_pulled() -> None:
    built = [re.sub(r".*:-(.*)}", r"\1", s["image"]) for s in SERVICES.values() if "build" in s]
    assert sorted(built) == ["tradelake/airflow:0.1.0", "tradelake/app:0.1.0", "tradelake/minio:0.1.0"]
    ours = [s for s in SERVICES.values() if ":-tradelake/" in s["image"]]
    assert [s["image"] for s in ours if s.get("pull_policy") != "never" and "build" not in s] == []


def test_prometheus_scrapes_what_it_scrapes_natively_and_reads_the_same_rules() -> None:
    config = yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())
    native: Any = prometheus_document(SETTINGS, Path("rules"), Path("password"))
    jobs, held = ({job["job_name"] for job in found["scrape_configs"]} for found in (native, config))
    assert held - jobs == {"minio"} and jobs <= held
    assert config["global"] == native["global"]
    assert [f"./docker/prometheus/rules.yml:{path}:ro" for path in config["rule_files"]] == [
        volume for volume in SERVICES["prometheus"]["volumes"] if "rules" in volume
    ]


def test_only_the_user_that_writes_alertmanagers_configuration_reads_it() -> None:
    image = (ROOT / "docker/app/Dockerfile").read_text()
    assert re.findall(r"^USER (\d+)$", image, re.MULTILINE) == [SERVICES["alertmanager"]["user"]]
    assert SERVICES["alertmanager"]["volumes"] == SERVICES["alert-receivers"]["volumes"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_that_stays_up_has_a_health_check(name: str) -> None:
    assert SERVICES[name]["restart"] == "no" or SERVICES[name]["healthcheck"]["test"]


@pytest.mark.parametrize("name", SERVICES)
def test_every_service_is_pinned_bounded_and_restarted(name: str) -> None:
    service = SERVICES[name]
    image = re.sub(r"\$\{[A-Z_]+:-(.*)\}", r"\1", service["image"])
    tag = image.rpartition(":")[2]
    assert re.search(r"\d+\.\d+", tag), f"{image} is not pinned"
    assert service["mem_limit"]
    assert service["restart"] in ("unless-stopped", "no")


def test_our_own_containers_have_a_read_only_root_and_no_capabilities() -> None:
    ours = [s for s in SERVICES.values() if "tradelake/app" in s["image"]]
    assert len(ours) >= 7
    for service in ours:
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
