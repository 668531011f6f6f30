"""The rendered configurations hold what the design promises, and quote what needs quoting."""

import configparser
from pathlib import Path

import pytest

from lakehouse.settings import Settings
from stack.servers import configurations
from tests.support.servers import scratch_settings


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return scratch_settings(tmp_path)


def _pairs(text: str, separator: str = "=") -> dict[str, str]:
    return dict(line.split(separator, 1) for line in text.splitlines())


def test_questdb_takes_no_schema_from_ilp_and_listens_only_where_told(settings: Settings) -> None:
    conf = _pairs(configurations.questdb_conf(settings))
    assert conf["line.auto.create.new.tables"] == conf["line.auto.create.new.columns"] == "false"
    assert conf["line.tcp.enabled"] == "false"
    bound = {name: value for name, value in conf.items() if name.endswith(".bind.to")}
    assert bound == {
        "http.net.bind.to": f"127.0.0.1:{settings.questdb_http_port}",
        "pg.net.bind.to": f"127.0.0.1:{settings.questdb_pg_port}",
        "http.min.net.bind.to": f"127.0.0.1:{settings.questdb_metrics_port}",
    }


def test_questdb_has_no_default_password(settings: Settings) -> None:
    conf = _pairs(configurations.questdb_conf(settings))
    password = settings.questdb_password.get_secret_value()
    assert conf["http.password"] == conf["pg.password"] == password
    assert conf["pg.readonly.password"] == settings.questdb_reader_password.get_secret_value()
    assert "quest" not in (conf["pg.password"], conf["pg.readonly.password"])


def test_kafka_never_drops_the_log_or_the_offsets_by_itself(settings: Settings, tmp_path: Path) -> None:
    conf = _pairs(configurations.kafka_properties(settings, tmp_path))
    assert conf["log.retention.ms"] == "-1"
    assert int(conf["offsets.retention.minutes"]) > 50 * 365 * 24 * 60
    assert conf["auto.create.topics.enable"] == "false"
    assert conf["log.dirs"] == str(tmp_path)
    assert all(part.split("://")[1].startswith("127.0.0.1:") for part in conf["listeners"].split(","))


def test_redis_has_a_password_and_a_ceiling(settings: Settings, tmp_path: Path) -> None:
    conf = _pairs(configurations.redis_conf(settings, tmp_path), " ")
    assert conf["requirepass"] == settings.redis_password.get_secret_value()
    assert (conf["bind"], conf["appendonly"], conf["maxmemory"]) == ("127.0.0.1", "yes", "128mb")


def test_supervisor_reads_back_what_was_meant(tmp_path: Path) -> None:
    awkward = 'a "quoted" 100% value, with = and \\'
    program = configurations.program_conf(
        "x", ["/bin/echo", "two words"], {"KEY": awkward}, tmp_path, tmp_path / "x.log", 15
    )
    text = configurations.supervisord_conf(tmp_path, "me", [program])
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(text)
    section = parser["program:x"]
    assert section["command"] == '"/bin/echo" "two words"'
    assert section["environment"] == 'KEY="a \\"quoted\\" 100%% value, with = and \\\\"'
    assert section["autorestart"] == "true"
    assert parser["unix_http_server"]["file"] == str(tmp_path / "supervisor.sock")
