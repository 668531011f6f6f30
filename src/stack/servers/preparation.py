"""Before anything starts: creates folders, writes server configurations and formats Kafka's storage."""

import base64
import subprocess
import uuid
from pathlib import Path

from lakehouse.errors import FatalError
from lakehouse.settings import Settings
from stack.layout import Layout
from stack.servers import configurations

MIN_FREE_MB = 2048


def prepare(settings: Settings, paths: Layout) -> None:
    """Rewrites every server's configuration from the settings; never touches data.

    Raises:
        FatalError: the settings are for servers elsewhere, a server is not installed, or Kafka's storage cannot be
            formatted.
    """
    _require_plain(settings)
    _require_servers(paths)
    state = paths.state
    for folder in ("questdb/conf", "kafka/data", "redis", "mlflow/artifacts", "logs"):
        (state / folder).mkdir(parents=True, exist_ok=True)
    write_private(state / "questdb/conf/server.conf", configurations.questdb_conf(settings))
    write_private(state / "questdb/conf/log.conf", configurations.QUESTDB_LOG_CONF)
    write_private(state / "kafka/server.properties", configurations.kafka_properties(settings, state / "kafka/data"))
    write_private(state / "kafka/log4j2.properties", configurations.KAFKA_LOG4J)
    write_private(state / "redis/redis.conf", configurations.redis_conf(settings, state / "redis"))
    _format_kafka(paths)


def write_private(path: Path, text: str) -> None:
    """Atomically writes a file that only we may read."""
    draft = path.with_name(path.name + ".new")
    draft.touch(mode=0o600)
    draft.write_text(text)
    draft.replace(path)


def _require_plain(settings: Settings) -> None:
    """Refuses TLS and SASL settings: our own servers on loopback speak neither, and clients would fail late."""
    if settings.kafka_security != "PLAINTEXT" or settings.redis_tls:
        raise FatalError(
            "KAFKA_SECURITY and REDIS_TLS are for externally managed servers, but this command starts its own: remove "
            "them, or run only our processes (docs/scaling.md)"
        )


def _require_servers(paths: Layout) -> None:
    wanted = {"QuestDB": "questdb/questdb-*.jar", "Kafka": "kafka/kafka_*.jar", "Redis": "redis-server"}
    missing = [name for name, pattern in wanted.items() if not any(paths.servers.glob(pattern))]
    if missing:
        raise FatalError(f"{', '.join(missing)} not found in {paths.servers}: run scripts/up.sh, which installs them")


def _format_kafka(paths: Layout) -> None:
    home = paths.state / "kafka"
    if (home / "data/meta.properties").exists():
        return
    cluster = base64.urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=").replace("-", "_")
    command = ["java", "-Xmx128m", "-cp", f"{paths.servers}/kafka/*", "kafka.tools.StorageTool", "format"]
    command += ["--cluster-id", cluster, "--config", str(home / "server.properties")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise FatalError(f"Kafka's storage {home / 'data'} could not be formatted: {done.stderr.strip()[-500:]}")
