"""The process table: each process with its command, ports, dependencies and health probe."""

from lakehouse.settings import Settings
from stack.layout import Layout
from stack.servers import optional_servers as extra
from stack.servers import probes
from stack.supervision.process import Process, run


def processes(settings: Settings, paths: Layout, full: bool | None = None) -> tuple[Process, ...]:
    """Every process of this lake, servers first; with those of ``--full`` if ever requested or if ``full`` is set."""
    wanted = {"core", "full"} if full or (full is None and paths.full_record.exists()) else {"core"}
    if settings.source == "simulator":
        wanted.add("simulator")
    table = (*extra.servers(settings, paths), *_servers(paths), *_own(), *extra.airflow())
    return tuple(p for p in table if p.profile in wanted)


def _servers(paths: Layout) -> tuple[Process, ...]:
    return (
        Process(
            "questdb",
            "the tables; SQL console",
            (
                *_java(512),
                "--add-exports=java.base/jdk.internal.math=io.questdb",
                "-p",
                str(next(paths.servers.glob("questdb/questdb-*.jar"), "questdb.jar")),
                "-m",
                "io.questdb/io.questdb.ServerMain",
                "-d",
                str(paths.state / "questdb"),
            ),
            ("questdb_http_port", "questdb_pg_port", "questdb_metrics_port"),
            probes.questdb_answers,
        ),
        Process(
            "kafka",
            "the log of events",
            (
                *_java(256, f"-Dlog4j2.configurationFile={paths.state / 'kafka' / 'log4j2.properties'}"),
                "-cp",
                f"{paths.servers}/kafka/*",
                "kafka.Kafka",
                str(paths.state / "kafka" / "server.properties"),
            ),
            ("kafka_port", "kafka_controller_port"),
            probes.kafka_answers,
        ),
        Process(
            "redis",
            "the newest features and forecasts",
            (str(paths.servers / "redis-server"), str(paths.state / "redis" / "redis.conf")),
            ("redis_port",),
            probes.redis_answers,
        ),
        _mlflow(paths),
    )


def _mlflow(paths: Layout) -> Process:
    """MLflow on SQLite and a local folder; on PostgreSQL and the object store if ``--full`` preceded the first model.

    A lake that already has models keeps them where they are: a new backend would be an empty registry.
    """
    full = paths.full_record.exists() and not (paths.state / "mlflow" / "mlflow.db").exists()
    return Process(
        "mlflow",
        "models and runs",
        run("mlflow", *(["--full"] if full else [])),
        ("mlflow_port",),
        probes.mlflow_answers,
        tuple(name for name in ("postgres", "object-store") if full),
        stop_stage=8,
    )


def _own() -> tuple[Process, ...]:
    stores = ("questdb", "kafka", "redis")
    return (
        Process(
            "simulator",
            "the simulated Kraken",
            run("simulator"),
            ("simulator_port", "simulator_metrics_port"),
            probes.metrics(lambda s: s.simulator_metrics_port),
            stop_stage=1,
            profile="simulator",
        ),
        Process(
            "consumer",
            "Kafka to bronze, silver and Redis",
            run("consumer"),
            ("consumer_metrics_port",),
            probes.metrics(lambda s: s.consumer_metrics_port),
            stores,
            stop_stage=2,
        ),
        Process(
            "producer",
            "the market to Kafka",
            run("producer"),
            ("producer_metrics_port",),
            probes.metrics(lambda s: s.producer_metrics_port),
            # The consumer creates tables and topics on its first start.
            ("kafka", "consumer"),
            stop_stage=1,
        ),
        Process(
            "api",
            "forecasts over HTTP; live page",
            run("api"),
            ("api_port",),
            probes.api_answers,
            # Do not wait for MLflow, the slowest to start: until then the last run's models serve, or the simple rules.
            ("redis",),
            stop_stage=4,
        ),
        Process(
            "predictor",
            "stores a forecast per feature row",
            run("predictor"),
            ("predictor_metrics_port",),
            probes.metrics(lambda s: s.predictor_metrics_port),
            ("api", "redis", "questdb"),
            stop_stage=3,
        ),
        Process(
            "score",
            "scores forecasts once the outcome is known",
            run("score"),
            ("score_metrics_port",),
            probes.metrics(lambda s: s.score_metrics_port),
            ("consumer",),
            stop_stage=3,
        ),
    )


def _java(heap_mb: int, *options: str) -> tuple[str, ...]:
    """A Java command; a small young generation avoids touching the whole heap before the first collection."""
    return ("java", "-Xms64m", f"-Xmx{heap_mb}m", "-Xmn24m", "-XX:+UseSerialGC", *options)
