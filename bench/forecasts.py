"""Out-of-sample figures on the recorded sets: runs ``forecast.evaluate`` on each and pools what it reports.

``python bench/forecasts.py FOLDER [--only NAME ...] [--pool]``: reports go to FOLDER; ``--pool`` reads those already
there. The last line of stdout is JSON.
"""

import argparse
import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

from scipy import stats

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
    subprocess.run([sys.executable, "-m", "forecast.evaluate", *files, "--report", str(report)], check=True)


def pool(reports: dict[str, dict[str, Any]], horizon: str) -> dict[str, float]:
    """Volatility at one horizon over all rows of all sets: ratio of mean QLIKEs, its DM p-value, coverages."""
    rows = served = best = variance = inside_80 = inside_95 = 0.0
    for body in reports.values():
        found = body["vol"][horizon]
        champion, rule = found["models"]["champion"], found["models"][found["best_baseline"]]
        difference, statistic = champion["qlike"] - rule["qlike"], champion.get("dm_best_baseline", 0.0)
        error = difference / statistic if statistic else 0.0
        n = found["n"]
        rows, served, best = rows + n, served + n * champion["qlike"], best + n * rule["qlike"]
        variance += (n * error) ** 2
        inside_80, inside_95 = inside_80 + n * found["coverage_80"], inside_95 + n * found["coverage_95"]
    p = float(2 * stats.norm.sf(abs(served - best) / math.sqrt(variance))) if variance else 1.0
    by_set = [body["vol"][horizon]["ratio"] for body in reports.values()]
    return {
        "n": rows,
        "ratio": served / best,
        "mean_ratio_of_sets": sum(by_set) / len(by_set),
        "worst_set": max(by_set),
        "dm_p": p,
        "coverage_80": inside_80 / rows,
        "coverage_95": inside_95 / rows,
    }


def table(reports: dict[str, dict[str, Any]], target: str) -> str:
    """Ratios per set and horizon, as Markdown; * marks p < 0.01 against the best rule."""
    horizons = list(next(iter(reports.values()))[target])
    lines = ["| set | n | " + " | ".join(f"{h} s" for h in horizons) + " |", "|---" * (len(horizons) + 2) + "|"]
    for name, body in reports.items():
        found = body[target]
        cells = [f"{f['ratio']:.4f}{'*' if f['dm_p'] < 0.01 else ''}" for f in found.values()]
        lines.append(f"| {name} | {found[horizons[0]]['n']} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main() -> None:
    """Runs what is asked for, prints the tables and the pooled figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--only", nargs="+", choices=SETS, default=list(SETS))
    parser.add_argument("--pool", action="store_true", help="run nothing, read the reports that are there")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    reports: dict[str, dict[str, Any]] = {}
    for name in chosen.only:
        path = chosen.folder / f"{name}.json"
        if not chosen.pool:
            run(name, path)
        if path.exists():
            reports[name] = json.loads(path.read_text())
    for target in ("vol", "bid"):
        print(f"\n{target}\n{table(reports, target)}")
    horizons = list(next(iter(reports.values()))["vol"])
    print(json.dumps({"sets": list(reports), "vol": {h: pool(reports, h) for h in horizons}}))


if __name__ == "__main__":
    main()
