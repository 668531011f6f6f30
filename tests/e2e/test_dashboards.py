"""Every query of every dashboard gives rows on a lake that runs, and so does every series that an alert reads."""

import json
import re
import subprocess
import time
from collections.abc import Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx
import psutil
import pytest
import yaml

from grafana.build import DASHBOARDS
from grafana.model import VARIABLES, Query, prom
from lakehouse.findings import Finding, note
from lakehouse.settings import EVENTS_TOPIC, Settings
from lakehouse.stores import kafka
from lakehouse.stores.questdb import QuestDB
from stack.alerting.rules import RULES
from tests.e2e.lakes import ROOT, Lake
from tests.support.servers import free_ports

pytestmark = pytest.mark.timeout(900)
TITLED = [
    *(
        (f"{board.name}: {panel.title}", query)
        for board in DASHBOARDS
        for panel in board.panels
        for query in panel.queries
    ),
    *((f"alert: {rule.name}: {series}", prom(series)) for rule in RULES for series in rule.needs),
]


def expanded(sql: str) -> str:
    """What Grafana's PostgreSQL data source makes of its macros and of our variables."""
    until = datetime.now(UTC) + timedelta(minutes=1)
    span = f"BETWEEN '{until - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}' AND '{until:%Y-%m-%dT%H:%M:%SZ}'"
    sql = re.sub(r"\$__timeFilter\((\w+)\)", rf"\1 {span}", sql)
    for name, value in {"$__interval": "5s", "$symbol": "BTC/USD", "$horizon": "60", "$feature": "mid"}.items():
        sql = sql.replace(name, value)
    assert "$" not in sql
    return sql


def scrape_config(settings: Settings, folder: Path) -> str:
    """docker/prometheus/prometheus.yml with this lake's addresses in place of the containers' names."""
    ports = {
        "producer:9101": settings.producer_metrics_port,
        "consumer:9102": settings.consumer_metrics_port,
        "predictor:9103": settings.predictor_metrics_port,
        "score:9104": settings.score_metrics_port,
        "api:5050": settings.api_port,
        "questdb:9003": settings.questdb_metrics_port,
    }
    text = (ROOT / "docker/prometheus/prometheus.yml").read_text()
    for target, port in ports.items():
        assert target in text
        text = text.replace(target, f"127.0.0.1:{port}")
    looked_up = "dns_sd_configs: [{names: [simulator], type: A, port: 9105, refresh_interval: 5s}]"
    assert looked_up in text
    rules = "/etc/prometheus/rules.yml"
    assert rules in text
    text = text.replace(rules, str(ROOT / "docker/prometheus/rules.yml"))
    text = text.replace(looked_up, f'static_configs: [{{targets: ["127.0.0.1:{settings.simulator_metrics_port}"]}}]')
    password = folder / "questdb-password"
    password.touch(0o600)
    password.write_text(settings.questdb_password.get_secret_value())
    return text.replace("/tmp/questdb-password", str(password)).replace("scrape_interval: 5s", "scrape_interval: 1s")


@pytest.fixture(scope="module")
def prometheus(lake: Lake, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A real Prometheus that scrapes the lake, after a reconnect, a dead letter and a request have happened."""
    folder = tmp_path_factory.mktemp("prometheus")
    config = folder / "prometheus.yml"
    config.write_text(scrape_config(lake.settings, folder))
    (port,) = free_ports(1)
    command = [str(ROOT / "var/servers/prometheus"), f"--config.file={config}", f"--storage.tsdb.path={folder}/data"]
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([*command, f"--web.listen-address=127.0.0.1:{port}"], stdout=log, stderr=log)
    try:
        happen(lake)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(20)


def happen(lake: Lake) -> None:
    """What some panels count: a lost connection, an unparsable message, checks, a DAG's task, a forecast asked for."""
    psutil.Process(lake.status()["processes"]["simulator"]["pid"]).kill()
    client = kafka.producer(lake.settings)
    client.produce(EVENTS_TOPIC, b"no json", key=b"BTC/USD")
    assert client.flush(20) == 0
    assert httpx.post(lake.settings.api_url + "/predict_vol", json={"symbol": "BTC/USD"}).is_success
    done = lake.tradelake("quality")
    assert done.returncode in (0, 1, 3), done.stdout + done.stderr
    for task in (("backup_daily", "backup"), ("quality_hourly", "quality")):
        done = lake.tradelake("task-result", *task, "success")
        assert done.returncode == 0, done.stdout + done.stderr
    # The core has no object store, and no whole day yet that could be replayed.
    with closing(QuestDB(lake.settings)) as questdb:
        note(questdb, datetime.now(UTC), [Finding("backup_verified", time.time(), 6, detail="drill of a day")])


@pytest.fixture(scope="module")
def scored(lake: Lake) -> None:
    """Returns once forecasts have come due and were judged."""
    deadline = time.monotonic() + 240
    while not lake.rows("SELECT count() FROM gold_forecast_scores WHERE target = 'vol' AND horizon_s = 60")[0][0]:
        assert time.monotonic() < deadline, lake.run("logs.sh", "score").stdout
        time.sleep(2)


def result(prometheus: str, query: str) -> list[object]:
    answer = httpx.get(f"{prometheus}/api/v1/query", params={"query": query}).json()
    assert answer["status"] == "success", answer
    return list(answer["data"]["result"])


@pytest.mark.parametrize(("title", "query"), TITLED, ids=[title for title, _ in TITLED])
def test_the_query_gives_rows(lake: Lake, prometheus: str, scored: None, title: str, query: Query) -> None:
    deadline = time.monotonic() + 60
    while not (lake.rows(expanded(query.text)) if query.source == "sql" else result(prometheus, query.text)):
        assert time.monotonic() < deadline, f"{title}: no rows from {query.text}"
        time.sleep(2)


@pytest.mark.parametrize("name", VARIABLES)
def test_the_variable_offers_choices(lake: Lake, scored: None, name: str) -> None:
    assert lake.rows(VARIABLES[name][1])


def test_no_alert_fires_on_a_healthy_lake_but_for_what_the_core_lacks(prometheus: str, scored: None) -> None:
    """A killed simulator and one bad message are no alarm; how full the disk is, is the machine's affair."""
    loaded = httpx.get(f"{prometheus}/api/v1/rules").json()["data"]["groups"][0]["rules"]
    assert {rule["name"] for rule in loaded} == {rule.name for rule in RULES}
    assert [rule["name"] for rule in loaded if rule["health"] == "err"] == []
    firing = result(prometheus, 'ALERTS{alertstate="firing", job!~"minio|alertmanager", alertname!="DiskNearlyFull"}')
    assert firing == []


def test_prometheus_reaches_every_process(lake: Lake, prometheus: str) -> None:
    jobs = {
        job["job_name"]
        for job in yaml.safe_load((ROOT / "docker/prometheus/prometheus.yml").read_text())["scrape_configs"]
    }
    deadline = time.monotonic() + 30
    while True:
        targets = httpx.get(f"{prometheus}/api/v1/targets").json()["data"]["activeTargets"]
        up = {target["labels"]["job"] for target in targets if target["health"] == "up"}
        if up >= jobs - {"minio", "alertmanager"}:  # which the core does not run
            return
        assert time.monotonic() < deadline, json.dumps(targets, indent=1)
        time.sleep(1)
