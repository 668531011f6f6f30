"""Prometheus and Alertmanager, which ``--full`` adds where Debian's packages are unpacked beside the other servers."""

import json
from pathlib import Path

from lakehouse.settings import Settings
from stack.alerting.alertmanager import DEFAULT_TIMES, MessageTimes, alertmanager_document
from stack.alerting.prometheus import prometheus_document
from stack.alerting.rule import rules_document
from stack.alerting.rules import RULES
from stack.layout import Layout
from stack.servers import probes
from stack.servers.preparation import write_private
from stack.supervision.process import Process

# Days of metrics, as in docker-compose.yml.
KEPT = "15d"


def monitoring(settings: Settings, paths: Layout) -> tuple[Process, ...]:
    """Both servers; none where one of them is not installed, since neither tells anybody anything alone."""
    programs = paths.servers / "alertmanager", paths.servers / "prometheus"
    if not all(program.exists() for program in programs):
        return ()
    return _alertmanager(settings, paths, programs[0]), _prometheus(settings, paths, programs[1])


def prepare_monitoring(settings: Settings, paths: Layout) -> None:
    """Writes both configurations; those with passwords in them only we may read."""
    home = paths.state / "prometheus"
    home.mkdir(parents=True, exist_ok=True)
    rules, password = home / "rules.json", home / "questdb-password"
    write_private(rules, json.dumps(rules_document(RULES)))
    write_private(password, settings.questdb_password.get_secret_value())
    write_private(home / "prometheus.json", json.dumps(prometheus_document(settings, rules, password)))
    write_receivers(settings, paths.state / "alertmanager")


def write_receivers(settings: Settings, folder: Path, times: MessageTimes = DEFAULT_TIMES) -> None:
    """Writes Alertmanager's configuration: its passwords and tokens are in this file alone, which only we may read."""
    folder.mkdir(parents=True, exist_ok=True)
    write_private(folder / "alertmanager.json", json.dumps(alertmanager_document(settings, times)))


def _alertmanager(settings: Settings, paths: Layout, program: Path) -> Process:
    home = paths.state / "alertmanager"
    address = f"{settings.bind_host}:{settings.alertmanager_port}"
    command = (
        str(program),
        f"--config.file={home / 'alertmanager.json'}",
        f"--storage.path={home / 'data'}",
        f"--web.listen-address={address}",
        f"--web.external-url=http://{address}",
        # One alone needs no gossip, whose port would be open on every address.
        "--cluster.listen-address=",
        "--log.level=warn",
    )
    about = "sends alerts to whom .env names"
    return Process(
        "alertmanager", about, command, ("alertmanager_port",), _answers("alertmanager_port"), profile="full"
    )


def _prometheus(settings: Settings, paths: Layout, program: Path) -> Process:
    home = paths.state / "prometheus"
    address = f"{settings.bind_host}:{settings.prometheus_port}"
    command = (
        str(program),
        f"--config.file={home / 'prometheus.json'}",
        f"--storage.tsdb.path={home / 'data'}",
        f"--storage.tsdb.retention.time={KEPT}",
        f"--web.listen-address={address}",
        f"--web.external-url=http://{address}",
        "--log.level=warn",
    )
    about = "metrics and alert rules"
    return Process("prometheus", about, command, ("prometheus_port",), _answers("prometheus_port"), profile="full")


def _answers(port: str) -> probes.Probe:
    def probe(settings: Settings) -> None:
        probes.get(f"http://{settings.bind_host}:{getattr(settings, port)}/-/healthy")

    return probe
