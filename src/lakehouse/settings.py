"""Every setting of the lake, typed, read once from the environment (and `.env`); secrets print as stars."""

import os
from functools import cached_property
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, SecretStr, ValidationError, field_validator, model_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from lakehouse.errors import FatalError
from lakehouse.symbols import check_symbol

Port = Annotated[int, Field(ge=1, le=65535)]
_GIVEN = "given"
# A secret of externally managed servers: set by their operator, not generated.
GivenSecret = Annotated[SecretStr, _GIVEN]
EVENTS_TOPIC = "market.events"
HISTORY_TOPIC = "market.history"
DEADLETTER_TOPIC = "market.events.dlq"
HORIZONS_S = (60, 120, 180, 240, 300)


class Settings(BaseSettings):
    """The configuration of every process; each field is the environment variable of the same name in capitals."""

    model_config = SettingsConfigDict(
        env_file=os.environ.get("ENV_FILE", ".env"), extra="ignore", frozen=True, hide_input_in_errors=True
    )

    source: Literal["kraken", "simulator"] = Field("simulator", description="The market of this lake; never changes.")
    symbols: Annotated[tuple[str, ...], NoDecode] = Field(
        ("BTC/USD", "ETH/USD", "SOL/USD"), description="Comma-separated pairs in Kraken's v2 spelling."
    )
    var_dir: Path = Field(Path("var"), description="Where all state and logs live.")
    servers_dir: Path = Field(Path("var/servers"), description="Where the downloaded servers are kept.")
    log_level: str = Field("INFO", description="Python log level of every process.")

    feature_interval_ms: int = Field(1000, ge=0, description="One feature row per symbol and interval; 0: per event.")
    vol_step_s: int = Field(5, ge=1, description="Sampling step of realised volatility, in seconds.")
    batch_events: int = Field(50_000, ge=1, description="Maximum number of events in a consumer batch.")
    kafka_partitions: int = Field(8, ge=1, description="Partitions of the market topics; fixed when the lake is made.")
    kafka_keep_hours: int = Field(168, ge=1, description="Hours of Kafka log kept after bronze holds the messages.")
    silence_s: float = Field(900.0, gt=0, description="Without dense ids: a longer silence is a gap.")
    future_tolerance_s: float = Field(5.0, gt=0, description="Events further ahead of our clock are dead-lettered.")
    features_ttl_s: int = Field(300, ge=1, description="Seconds until features in Redis expire.")
    retention_days: int = Field(0, ge=0, description="Days kept in QuestDB once backed up; 0: all.")

    quality_span_hours: int = Field(
        6, ge=1, description="Roll the champion back after this many hours of live skill below zero."
    )

    simulator_seed: int = Field(42, description="Seed of the simulated market.")
    simulator_events_per_s: float = Field(20.0, gt=0, description="Density of the simulated market, per symbol.")
    simulator_genesis: str = Field("2026-01-01T00:00:00Z", description="When the simulated market's trade ids start.")
    simulator_faults: str = Field("", description="Path of a fault script (JSON) for the simulator; empty: none.")

    bind_host: str = Field("127.0.0.1", description="Address our own servers listen on.")
    questdb_host: str = Field("127.0.0.1", description="Host of QuestDB.")
    questdb_http_port: Port = Field(9000, description="QuestDB: HTTP, ILP and console.")
    questdb_pg_port: Port = Field(8812, description="QuestDB: PostgreSQL wire.")
    questdb_metrics_port: Port = Field(9003, description="QuestDB: /metrics, with the same password.")
    questdb_user: str = Field("tradelake", description="QuestDB user that writes.")
    questdb_password: SecretStr = Field(SecretStr(""), description="Its password; generated.")
    questdb_reader: str = Field("reader", description="QuestDB user that can only read (PostgreSQL wire).")
    questdb_reader_password: SecretStr = Field(SecretStr(""), description="Its password; generated.")
    kafka_host: str = Field("127.0.0.1", description="Host of Kafka's bootstrap broker.")
    kafka_port: Port = Field(9092, description="Kafka's client port.")
    kafka_controller_port: Port = Field(9093, description="Kafka's KRaft controller port.")
    kafka_security: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="How clients reach Kafka: SSL is TLS, SASL is a user with a password."
    )
    kafka_sasl_mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "SCRAM-SHA-512", description="SASL mechanism; PLAIN sends the password unencrypted: use it over TLS only."
    )
    kafka_user: str = Field("", description="Kafka user; needed with SASL.")
    kafka_password: GivenSecret = Field(SecretStr(""), description="Its password; as Kafka's operator gave it.")
    kafka_ca: str = Field("", description="File (PEM) of the CA that signed Kafka's certificate; empty: the system's.")
    redis_host: str = Field("127.0.0.1", description="Host of Redis.")
    redis_port: Port = Field(6379, description="Redis' port.")
    redis_user: str = Field("", description="Redis user; empty: the default user.")
    redis_password: SecretStr = Field(SecretStr(""), description="Redis' password; generated.")
    redis_tls: bool = Field(False, description="Use TLS for Redis.")
    redis_ca: str = Field("", description="File (PEM) of the CA that signed Redis' certificate; empty: the system's.")
    mlflow_host: str = Field("127.0.0.1", description="Host of the MLflow server.")
    mlflow_port: Port = Field(5000, description="MLflow's port.")
    api_host: str = Field("127.0.0.1", description="Host of the API.")
    api_port: Port = Field(5050, description="Port of the API and the live page.")
    api_allowed_hosts: Annotated[tuple[str, ...], NoDecode] = Field(
        (), description="Comma-separated host names, beside localhost and API_HOST, by which the API may be called."
    )
    api_token: SecretStr = Field(SecretStr(""), description="Bearer token of /reload and /retrain; generated.")
    simulator_host: str = Field("127.0.0.1", description="Host of the simulated Kraken.")
    simulator_port: Port = Field(8765, description="Port of the simulated Kraken (WebSocket and REST).")
    kraken_ws_url: str = Field("wss://ws.kraken.com/v2", description="Kraken's public WebSocket v2.")
    kraken_rest_url: str = Field("https://api.kraken.com/0/public", description="Kraken's public REST API.")
    kraken_rest_interval_s: float = Field(
        1.0, ge=0, description="Minimum seconds between two REST calls to Kraken for one pair."
    )
    s3_endpoint: str = Field("", description="Object store (S3 API), host:port; empty: our own.")
    object_store: Literal["seaweedfs", "minio"] = Field("seaweedfs", description="The server of our own object store.")
    s3_port: Port = Field(9002, description="Port of our own object store (S3 API).")
    s3_admin_user: str = Field("lake-admin", description="Its administrator; used only to create buckets and users.")
    s3_admin_password: SecretStr = Field(SecretStr(""), description="The administrator's password; generated.")
    seaweedfs_port: Port = Field(9331, description="First of seven consecutive ports that SeaweedFS uses inside.")
    s3_access_key: str = Field("tradelake", description="User of the bucket data-lake.")
    s3_secret_key: SecretStr = Field(SecretStr(""), description="Its key; generated.")
    s3_secure: bool = Field(False, description="Use TLS for the object store.")
    s3_region: str = Field("us-east-1", min_length=1, description="The object store's region; our own takes any.")
    s3_bucket: str = Field("data-lake", description="Bucket of the backups.")
    minio_console_port: Port = Field(9001, description="MinIO's console.")
    mlflow_s3_access_key: str = Field("mlflow", description="User of the bucket mlflow.")
    mlflow_s3_secret_key: SecretStr = Field(SecretStr(""), description="Its key; generated.")
    postgres_host: str = Field("127.0.0.1", description="Host of PostgreSQL (Airflow's and MLflow's metadata).")
    postgres_port: Port = Field(5433, description="PostgreSQL's port.")
    postgres_airflow_password: SecretStr = Field(SecretStr(""), description="Password of user airflow; generated.")
    postgres_mlflow_password: SecretStr = Field(SecretStr(""), description="Password of user mlflow; generated.")
    airflow_host: str = Field("127.0.0.1", description="Host of Airflow's API server.")
    airflow_port: Port = Field(8080, description="Airflow's port.")
    airflow_user: str = Field("admin", description="Airflow user that may trigger DAGs.")
    airflow_password: SecretStr = Field(SecretStr(""), description="Its password; generated.")
    airflow_secret_key: SecretStr = Field(SecretStr(""), description="Signs Airflow's sessions and tokens; generated.")
    grafana_port: Port = Field(3000, description="Grafana's port.")
    prometheus_port: Port = Field(9090, description="Prometheus' port.")
    alertmanager_port: Port = Field(9094, description="Alertmanager's port.")
    alert_email: str = Field("", description="Addresses that alerts go to, comma-separated; empty: none.")
    alert_email_from: str = Field("", description="Their sender; empty: the first of those addresses.")
    smtp_host: str = Field("localhost", description="The mail server that takes alerts.")
    smtp_port: Port = Field(587, description="Its port.")
    smtp_user: str = Field("", description="User of the mail server; empty: it asks for none.")
    smtp_password: GivenSecret = Field(
        SecretStr(""), description="Its password; as the mail server's operator gave it."
    )
    smtp_tls: bool = Field(True, description="Require STARTTLS of the mail server; port 465 is TLS from the start.")
    alert_webhook: GivenSecret = Field(SecretStr(""), description="URL that alerts are posted to as JSON; empty: none.")
    alert_slack_webhook: GivenSecret = Field(
        SecretStr(""), description="URL of a Slack webhook that alerts go to; empty: none."
    )
    alert_telegram_token: GivenSecret = Field(
        SecretStr(""), description="Token of the Telegram bot that sends alerts; empty: none."
    )
    alert_telegram_chat: int = Field(0, description="Telegram's number of the chat that the bot writes to.")
    alert_runbooks: str = Field("", description="URL of this checkout's copy on the web, for links to runbooks.")
    kafka_ui_port: Port = Field(9021, description="Kafka UI's port.")
    redis_ui_port: Port = Field(8081, description="Redis UI's port.")
    producer_metrics_port: Port = Field(9101, description="The producer's /metrics.")
    consumer_metrics_port: Port = Field(9102, description="The consumer's /metrics.")
    predictor_metrics_port: Port = Field(9103, description="The predictor's /metrics.")
    score_metrics_port: Port = Field(9104, description="The scorer's /metrics.")
    simulator_metrics_port: Port = Field(9105, description="The simulator's /metrics.")

    @model_validator(mode="before")
    @classmethod
    def _recorded_source(cls, values: dict[str, object]) -> dict[str, object]:
        """`tradelake up` records the market it chose in ``VAR_DIR/source``, for every later command."""
        record = Path(str(values.get("var_dir", "var"))) / "source"
        if "source" not in values and record.exists():
            return {**values, "source": record.read_text().strip()}
        return values

    @field_validator("symbols", "api_allowed_hosts", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            value = tuple(part.strip() for part in value.split(",") if part.strip())
        return value

    @field_validator("symbols")
    @classmethod
    def _check_symbols(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if not value or len(set(value)) != len(value):
            raise ValueError(f"want distinct pairs in Kraken's v2 spelling such as BTC/USD, got {value}")
        for symbol in value:
            try:
                check_symbol(symbol)
            except FatalError as error:
                raise ValueError(f"want distinct pairs in Kraken's v2 spelling such as BTC/USD: {error}") from None
        return value

    @cached_property
    def state_dir(self) -> Path:
        """Folder of this source's data: simulated and real rows never mix."""
        return self.var_dir / self.source

    @property
    def ws_url(self) -> str:
        """WebSocket v2 endpoint of the chosen source."""
        if self.source == "kraken":
            return self.kraken_ws_url
        return f"ws://{self.simulator_host}:{self.simulator_port}/v2"

    @property
    def rest_url(self) -> str:
        """Base of the public REST methods of the chosen source, without a trailing slash."""
        if self.source == "kraken":
            return self.kraken_rest_url
        return f"http://{self.simulator_host}:{self.simulator_port}/0/public"

    @property
    def trade_source(self) -> Literal["ws", "sim"]:
        """The ``source`` that live events carry."""
        return "ws" if self.source == "kraken" else "sim"

    @property
    def s3_address(self) -> str:
        """``host:port`` of the object store."""
        return self.s3_endpoint or f"127.0.0.1:{self.s3_port}"

    @property
    def mlflow_uri(self) -> str:
        """Tracking and registry URI of MLflow."""
        return f"http://{self.mlflow_host}:{self.mlflow_port}"

    @property
    def api_url(self) -> str:
        """Base URL of our API."""
        return f"http://{self.api_host}:{self.api_port}"


def is_generated(field: FieldInfo) -> bool:
    """Whether a field holds a secret that the lake generates."""
    return field.annotation is SecretStr and _GIVEN not in field.metadata


def load_settings(**overrides: object) -> Settings:
    """Reads the settings; a wrong value is a `FatalError` that names the variable and what it should be."""
    try:
        return Settings(**overrides)  # type: ignore[arg-type]
    except ValidationError as error:
        wrong = "; ".join(f"{'.'.join(map(str, e['loc'])).upper()}: {e['msg']}" for e in error.errors())
        raise FatalError(f"invalid setting (environment or .env): {wrong}") from None
