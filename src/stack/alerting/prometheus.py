"""Prometheus' configuration for the native stack, where every target is on this machine; pure."""

from pathlib import Path

from lakehouse.settings import Settings

# As in docker/prometheus/prometheus.yml.
TIMES = {"scrape_interval": "5s", "evaluation_interval": "15s"}


def prometheus_document(settings: Settings, rules: Path, password: Path) -> dict[str, object]:
    """What ``--config.file`` holds.

    Args:
        settings: the ports of every target.
        rules: the file of rules.
        password: a file with QuestDB's password, which its metrics require.
    """
    ports = {
        "producer": settings.producer_metrics_port,
        "consumer": settings.consumer_metrics_port,
        "predictor": settings.predictor_metrics_port,
        "score": settings.score_metrics_port,
        "api": settings.api_port,
        "questdb": settings.questdb_metrics_port,
        "alertmanager": settings.alertmanager_port,
    }
    if settings.source == "simulator":
        ports["simulator"] = settings.simulator_metrics_port
    jobs: list[dict[str, object]] = [
        {"job_name": job, "static_configs": [_at(settings, port)]} for job, port in ports.items()
    ]
    for job in jobs:
        if job["job_name"] == "questdb":
            job["basic_auth"] = {"username": settings.questdb_user, "password_file": str(password)}
    receivers = [{"static_configs": [_at(settings, settings.alertmanager_port)]}]
    return {
        "global": TIMES,
        "rule_files": [str(rules)],
        "alerting": {"alertmanagers": receivers},
        "scrape_configs": jobs,
    }


def _at(settings: Settings, port: int) -> dict[str, list[str]]:
    return {"targets": [f"{settings.bind_host}:{port}"]}
