"""The words in which dashboards are declared; `build.py` turns them into Grafana's own."""

from dataclasses import dataclass
from typing import Literal

Source = Literal["sql", "prom"]


@dataclass(frozen=True, slots=True)
class Query:
    """A query against QuestDB (``sql``) or Prometheus (``prom``)."""

    text: str
    source: Source = "sql"
    legend: str = ""
    shape: Literal["time_series", "table"] = "time_series"


@dataclass(frozen=True, slots=True)
class Panel:
    """One panel: ``width`` in Grafana's 24 columns, ``unit`` as Grafana names it."""

    title: str
    about: str
    queries: tuple[Query, ...]
    kind: Literal["timeseries", "stat", "table", "candlestick"] = "timeseries"
    unit: str = "short"
    width: int = 12


@dataclass(frozen=True, slots=True)
class Board:
    """One dashboard."""

    name: str
    title: str
    about: str
    panels: tuple[Panel, ...]
    variables: tuple[str, ...] = ("symbol",)
    span: str = "now-1h"

    @property
    def uid(self) -> str:
        """Fixed, so that links and provisioning survive."""
        return f"tradelake-{self.name}"


# name: (label, query, several at once)
VARIABLES = {
    "symbol": ("Symbol", "SELECT DISTINCT symbol FROM gold_ohlc_1m ORDER BY symbol", False),
    "horizon": ("Horizon (s)", "SELECT DISTINCT horizon_s FROM gold_forecasts ORDER BY horizon_s", False),
    "feature": (
        "Feature",
        "SELECT \"column\" FROM table_columns('silver_features') WHERE type = 'DOUBLE' ORDER BY \"column\"",
        False,
    ),
}


def sql(text: str, shape: Literal["time_series", "table"] = "time_series") -> Query:
    """A query against QuestDB."""
    return Query(" ".join(text.split()), "sql", shape=shape)


def prom(text: str, legend: str = "") -> Query:
    """A query against Prometheus."""
    return Query(text, "prom", legend)


def quantiles(metric: str) -> tuple[Query, ...]:
    """Median, 95th and 99th percentile of a histogram over five minutes."""
    return tuple(
        prom(f"histogram_quantile({q}, sum by (le) (rate({metric}_bucket[5m])))", f"p{round(q * 100)}")
        for q in (0.5, 0.95, 0.99)
    )
