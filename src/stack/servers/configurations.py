"""The configuration files of the real servers, rendered from the settings; pure."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from lakehouse.settings import Settings

LOGBACK_MB = 10


# QuestDB's idle workers spin and yield 7,000 times before they sleep, which at our rates keeps a laptop's cores
# context-switching all the time. Sleeping after ten turns costs at most 1 ms of latency.
_POOLS = ("shared", "wal.apply", "mat.view.refresh", "view.compiler", "export", "http.min")
_RESTING_WORKERS = {
    f"{pool}.worker.{step}.threshold": turns for pool in _POOLS for step, turns in (("yield", "1"), ("nap", "10"))
}


def questdb_conf(settings: Settings) -> str:
    """QuestDB's ``conf/server.conf``: no schema by ILP, passwords everywhere, small pools and pages.

    The page sizes bound the memory of wide tables: QuestDB holds two O3 buffers and one append page per column.
    """
    return _properties(
        {
            "config.validation.strict": "true",
            "http.net.bind.to": f"{settings.bind_host}:{settings.questdb_http_port}",
            "http.user": settings.questdb_user,
            "http.password": settings.questdb_password.get_secret_value(),
            # Each client that reads frames holds one connection; the default limit is the number of CPUs.
            "http.export.connection.limit": "64",
            "http.min.net.bind.to": f"{settings.bind_host}:{settings.questdb_metrics_port}",
            "line.tcp.enabled": "false",
            "line.udp.enabled": "false",
            "line.auto.create.new.tables": "false",
            "line.auto.create.new.columns": "false",
            "pg.net.bind.to": f"{settings.bind_host}:{settings.questdb_pg_port}",
            "pg.user": settings.questdb_user,
            "pg.password": settings.questdb_password.get_secret_value(),
            "pg.readonly.user.enabled": "true",
            "pg.readonly.user": settings.questdb_reader,
            "pg.readonly.password": settings.questdb_reader_password.get_secret_value(),
            "metrics.enabled": "true",
            "telemetry.enabled": "false",
            "shared.worker.count": "2",
            **_RESTING_WORKERS,
            "cairo.o3.column.memory.size": "512k",
            "cairo.writer.data.append.page.size": "1M",
        }
    )


QUESTDB_LOG_CONF = """\
writers=stdout
w.stdout.class=io.questdb.log.LogConsoleWriter
w.stdout.level=ERROR,CRITICAL,ADVISORY
"""


def kafka_properties(settings: Settings, log_dir: Path) -> str:
    """A single KRaft node. The log never expires by itself: the consumer deletes what bronze holds.

    One broker with ``acks=all`` survives kill -9 without loss (written records are in the kernel's page cache);
    a power cut may lose the last messages, whose trades the producer then fetches again from the exchange.
    """
    return _properties(
        {
            "process.roles": "broker,controller",
            "node.id": "1",
            "controller.quorum.voters": f"1@{settings.bind_host}:{settings.kafka_controller_port}",
            "controller.listener.names": "CONTROLLER",
            "listeners": f"PLAINTEXT://{settings.bind_host}:{settings.kafka_port},"
            f"CONTROLLER://{settings.bind_host}:{settings.kafka_controller_port}",
            "advertised.listeners": f"PLAINTEXT://{settings.kafka_host}:{settings.kafka_port}",
            "listener.security.protocol.map": "PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT",
            "log.dirs": str(log_dir),
            "auto.create.topics.enable": "false",
            "offsets.topic.replication.factor": "1",
            "offsets.topic.num.partitions": "4",
            "offsets.retention.minutes": "52560000",
            "transaction.state.log.replication.factor": "1",
            "transaction.state.log.min.isr": "1",
            "share.coordinator.state.topic.replication.factor": "1",
            "share.coordinator.state.topic.min.isr": "1",
            "group.initial.rebalance.delay.ms": "0",
            "log.retention.ms": "-1",
            "log.segment.bytes": str(64 * 2**20),
            "num.network.threads": "2",
            "num.io.threads": "4",
            "log.cleaner.dedupe.buffer.size": str(16 * 2**20),
        }
    )


KAFKA_LOG4J = """\
status = warn
appender.out.type = Console
appender.out.name = out
appender.out.layout.type = PatternLayout
appender.out.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS}{UTC}Z %p %c{1}: %m%n
rootLogger.level = warn
rootLogger.appenderRef.out.ref = out
"""


def redis_conf(settings: Settings, data_dir: Path) -> str:
    """Redis on loopback with a password; it holds only the newest rows, so a low memory limit suffices."""
    return "".join(
        f"{key} {value}\n"
        for key, value in {
            "bind": settings.bind_host,
            "port": settings.redis_port,
            "requirepass": settings.redis_password.get_secret_value(),
            "dir": f'"{data_dir}"',
            "appendonly": "yes",
            "maxmemory": "128mb",
            "maxmemory-policy": "volatile-ttl",
            "daemonize": "no",
            "save": '""',
            # Keeps its command line, which distinguishes this lake's leftover process from another Redis.
            "set-proc-title": "no",
        }.items()
    )


def supervisord_conf(run_dir: Path, user: str, programs: Sequence[str]) -> str:
    """supervisord's own part, followed by its ``programs``."""
    head = _section(
        "supervisord",
        {
            "logfile": run_dir / "supervisord.log",
            "logfile_maxbytes": "5MB",
            "logfile_backups": "2",
            "pidfile": run_dir / "supervisord.pid",
            "childlogdir": run_dir,
            "user": user,
        },
    )
    socket = _section("unix_http_server", {"file": run_dir / "supervisor.sock", "chmod": "0700"})
    rpc = _section(
        "rpcinterface:supervisor",
        {"supervisor.rpcinterface_factory": "supervisor.rpcinterface:make_main_rpcinterface"},
    )
    return "\n".join((head, socket, rpc, *programs))


def program_conf(
    name: str, command: Sequence[str], environment: Mapping[str, str], directory: Path, log: Path, stop_s: int
) -> str:
    """One process under supervisord: started on demand, restarted when it dies, its log rotated."""
    return _section(
        f"program:{name}",
        {
            "command": " ".join(_quoted(part) for part in command),
            "environment": ",".join(f"{key}={_quoted(value)}" for key, value in environment.items()),
            "directory": directory,
            "autostart": "false",
            "autorestart": "true",
            "startsecs": "1",
            "startretries": "1000000",
            "stopwaitsecs": str(stop_s),
            "stopasgroup": "false",
            "killasgroup": "true",
            "redirect_stderr": "true",
            "stdout_logfile": log,
            "stdout_logfile_maxbytes": f"{LOGBACK_MB}MB",
            "stdout_logfile_backups": "3",
        },
    )


def _section(name: str, values: Mapping[str, object]) -> str:
    lines = [f"{key}={str(value).replace('%', '%%')}\n" for key, value in values.items()]
    return f"[{name}]\n{''.join(lines)}"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _properties(values: Mapping[str, str]) -> str:
    return "".join(f"{key}={value}\n" for key, value in values.items())
