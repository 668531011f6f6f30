"""Out-of-sample figures on the recorded sets: runs ``tradelake evaluate`` on each and pools what it reports.

``python bench/forecasts.py FOLDER [--only NAME ...] [--pool]``: reports go to FOLDER; ``--pool`` reads those already
there. The last line of stdout is JSON.
"""

import argparse
import json
import math
import subprocess
from pathlib import Path
from typing import Any

from scipy import stats

from stack.supervision.process import TRADELAKE

Reports = dict[str, dict[str, Any]]
LEVELS = (80, 95)
CLAIM_P = 0.05
DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
SETS: dict[str, dict[str, str]] = {
    "standx": {
        "trades": "trades_standx_btcusd_2026-01-05_06.parquet",
        "quotes": "quotes_standx_btcusd_2026-01-05_06.parquet",
    },
    "bitflyer": {"trades": "trades_bitflyer_btcjpy_2018-01-20_26.parquet"},
    "bitmex": {"bars": "bars1m_bitmex_xbtusd_2019-07_2020-12.parquet"},
    "btc21": {"bars": "bars1m_binance_spot_btcusdt_2021-04-20_2021-05-20.parquet"},
    "eth21": {"bars": "bars1m_binance_spot_ethusdt_2021-04-20_2021-05-20.parquet"},
    "btc23": {"bars": "bars1m_binance_spot_btcusdt_2023-03-16_2023-05-01.parquet"},
    "eth23": {"bars": "bars1m_binance_spot_ethusdt_2023-03_2023-05.parquet"},
    "btcp": {"bars": "bars1m_binance_perp_btcusdt_2023-07-18_2023-08-17.parquet"},
    "ethp": {"bars": "bars1m_binance_perp_ethusdt_2023-07-18_2023-08-17.parquet"},
}


def run(name: str, report: Path) -> None:
    """Evaluates one set in a process of its own."""
    files = [word for option, file in SETS[name].items() for word in (f"--{option}", str(DATA / file))]
    subprocess.run([*TRADELAKE, "evaluate", *files, "--report", str(report)], check=True)


def pool(reports: Reports, target: str, horizon: str) -> dict[str, Any]:
    """One target at one horizon over all rows of all sets: ratio of mean losses with its DM p-value, and intervals.

    The sets are taken as independent, so the variances of their summed loss differences add up.
    """
    key = {"vol": "qlike", "bid": "rmse"}[target]
    rows = served = best = variance = 0.0
    inside = dict.fromkeys(LEVELS, 0.0)
    for body in reports.values():
        found = body[target][horizon]
        champion, rule = found["models"]["champion"], found["models"][found["best_baseline"]]
        n, statistic = found["n"], champion.get("dm_best_baseline", 0.0)
        # Squared errors of the bid are summed in units of the set's own rule: sets differ by orders of magnitude.
        mine, its = (champion[key], rule[key]) if target == "vol" else ((champion[key] / rule[key]) ** 2, 1.0)
        rows, served, best = rows + n, served + n * mine, best + n * its
        variance += (n * (mine - its) / statistic) ** 2 if statistic else 0.0
        for level in LEVELS:
            inside[level] += n * found[f"coverage_{level}"]
    ratios = {name: body[target][horizon]["ratio"] for name, body in reports.items()}
    spread = math.sqrt(sum(_ratio_error(body[target][horizon]) ** 2 for body in reports.values())) / len(ratios)
    mean = sum(ratios.values()) / len(ratios)
    return {
        "n": int(rows),
        "ratio": served / best if target == "vol" else math.sqrt(served / best),
        "dm_p": _p(served - best, math.sqrt(variance)),
        "loss": served / rows,
        "loss_ratio": served / best,
        "error": math.sqrt(variance),
        "mean_of_sets": mean,
        "mean_of_sets_p": _p(mean - 1.0, spread),
        "worst_set": max(ratios.values()),
        "unproven_claims": [
            name for name, ratio in ratios.items() if ratio < 1 and reports[name][target][horizon]["dm_p"] >= CLAIM_P
        ],
        **{f"coverage_{level}": inside[level] / rows for level in LEVELS},
        **{f"coverage_{level}_7d": _weeks(reports, target, horizon, level) for level in LEVELS},
        **{f"interval_over_normal_{level}": _score_ratio(reports, target, horizon, level) for level in LEVELS},
    }


def over_horizons(pooled: dict[str, dict[str, Any]]) -> dict[str, float]:
    """All horizons together. Their errors are taken as perfectly correlated, so the p-value errs towards no skill."""
    served = sum(figures["n"] * figures["loss"] for figures in pooled.values())
    best = sum(figures["n"] * figures["loss"] / figures["loss_ratio"] for figures in pooled.values())
    error = sum(figures["error"] for figures in pooled.values())
    return {"ratio": served / best, "dm_p": _p(served - best, error)}


def _p(difference: float, error: float) -> float:
    """Two-sided normal p-value; 1 where nothing differs."""
    return float(2 * stats.norm.sf(abs(difference) / error)) if error else 1.0


def _ratio_error(found: dict[str, Any]) -> float:
    """Standard error of one set's ratio, from its Diebold-Mariano statistic."""
    statistic = found["models"]["champion"].get("dm_best_baseline", 0.0)
    return abs((found["ratio"] - 1.0) / statistic) if statistic else 0.0


def _weeks(reports: Reports, target: str, horizon: str, level: int) -> list[float]:
    """Least and most coverage over any 7 days of any set."""
    spans = [body[target][horizon][f"coverage_{level}_7d"] for body in reports.values()]
    return [min(low for low, _ in spans), max(high for _, high in spans)]


def _score_ratio(reports: Reports, target: str, horizon: str, level: int) -> float:
    """Mean over the sets of the interval score over that of a plain normal interval."""
    found = [body[target][horizon] for body in reports.values()]
    each = [f[f"interval_score_{level}"] / f[f"normal_interval_score_{level}"] for f in found]
    return float(sum(each) / len(each))


def table(reports: Reports, target: str) -> str:
    """Ratios per set and horizon, as Markdown; * marks p < 0.01 against the best rule."""
    horizons = list(next(iter(reports.values()))[target])
    lines = ["| set | rows | " + " | ".join(f"{h} s" for h in horizons) + " |", "|---" * (len(horizons) + 2) + "|"]
    for name, body in reports.items():
        found = body[target]
        cells = [f"{f['ratio']:.4f}{'*' if f['dm_p'] < 0.01 else ''}" for f in found.values()]
        lines.append(f"| {name} | {found[horizons[0]]['n']:,} | " + " | ".join(cells) + " |")
    pooled = {h: pool(reports, target, h) for h in horizons}
    cells = [f"{figures['ratio']:.4f}{'*' if figures['dm_p'] < 0.01 else ''}" for figures in pooled.values()]
    lines.append(f"| pooled | {pooled[horizons[0]]['n']:,} | " + " | ".join(cells) + " |")
    means = [
        f"{figures['mean_of_sets']:.4f}{'*' if figures['mean_of_sets_p'] < 0.01 else ''}" for figures in pooled.values()
    ]
    lines.append("| mean of the sets | | " + " | ".join(means) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs what is asked for, prints the tables and the pooled figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--pool", action="store_true", help="run nothing, read the reports that are there")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    reports: Reports = {}
    for name in chosen.only:
        path = chosen.folder / f"{name}.json"
        if not chosen.pool:
            run(name, path)
        if path.exists():
            reports[name] = json.loads(path.read_text())
    for target in ("vol", "bid"):
        print(f"\n{target}\n{table(reports, target)}")
    horizons = list(next(iter(reports.values()))["vol"])
    pooled: dict[str, dict[str, Any]] = {
        target: {h: pool(reports, target, h) for h in horizons} for target in ("vol", "bid")
    }
    pooled["vol"]["all"] = over_horizons(pooled["vol"])
    print(json.dumps({"sets": {name: body["seconds"] for name, body in reports.items()}, **pooled}))


if __name__ == "__main__":
    main()
