"""The readable side of an evaluation: plots, and one page in HTML and Markdown."""

import base64
import html
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forecast.backtest import SERVED, Backtest
from forecast.dataset import Dataset
from forecast.inputs import NAMES
from forecast.targets import Target
from lakehouse.settings import HORIZONS_S

LOSS: dict[str, tuple[str, str]] = {"vol": ("qlike", "QLIKE"), "bid": ("ratio", "RMSE over persistence's")}
_MOST_POINTS = 20_000
_TOP_INPUTS = 20


def write(folder: Path, data: Dataset, results: dict[Target, Backtest], body: dict[str, Any]) -> None:
    """Writes ``report.html``, ``report.md`` and one PNG per plot into ``folder``.

    Args:
        body: what `forecast.evaluate.evaluate` returns for the same results.
    """
    folder.mkdir(parents=True, exist_ok=True)
    images: list[str] = []
    for target, result in results.items():
        figures = body[target]
        plots: dict[str, Callable[[Axes], None]] = {
            "skill": lambda axes, f=figures: skill(axes, f),  # type: ignore[misc]
            "calibration": lambda axes, f=figures: calibration(axes, f),  # type: ignore[misc]
            "truth": lambda axes, r=result: forecast_and_truth(axes, data, r),  # type: ignore[misc]
            "importance": lambda axes, r=result: importance(axes, r),  # type: ignore[misc]
        }
        for name, draw in plots.items():
            file = f"{target}_{name}.png"
            _save(folder / file, f"{target}: {name}", draw)
            images.append(file)
    text = markdown(body)
    (folder / "report.md").write_text(text + "\n" + "\n".join(f"![{name}]({name})\n" for name in images))
    (folder / "report.html").write_text(_page(text, [folder / name for name in images]))


def skill(axes: Axes, figures: dict[str, Any]) -> None:
    """Each model's loss over the best rule's, by horizon; below 1 is better."""
    horizons = list(figures)
    names = [n for n in figures[horizons[0]]["models"] if n not in ("last", "tod")]
    for name in names:
        values = [figures[h]["models"][name]["ratio"] for h in horizons]
        axes.plot(horizons, values, marker="o", lw=3 if name == SERVED else 1, label=name)
    axes.axhline(1.0, color="grey", lw=0.8)
    axes.set(xlabel="horizon, s", ylabel="loss over best rule's")
    axes.legend(fontsize=8)


def calibration(axes: Axes, figures: dict[str, Any]) -> None:
    """Share of truths inside the intervals by horizon, with the range over any 7 days."""
    positions = np.arange(len(figures))
    for level, shift in ((80, -0.1), (95, 0.1)):
        middle = np.array([f[f"coverage_{level}"] for f in figures.values()])
        week = np.array([f[f"coverage_{level}_7d"] for f in figures.values()])
        errors = np.abs(np.vstack([middle - week[:, 0], week[:, 1] - middle]))
        axes.errorbar(positions + shift, middle, yerr=errors, fmt="o", capsize=4, label=f"{level} %")
        axes.axhline(level / 100, color="grey", lw=0.8)
    axes.set_xticks(positions, list(figures))
    axes.set(xlabel="horizon, s", ylabel="coverage (bars: any 7 days)")
    axes.legend(fontsize=8)


def forecast_and_truth(axes: Axes, data: Dataset, result: Backtest) -> None:
    """What was served at the longest horizon beside what happened: volatilities, or log returns of the bid."""
    every = max(1, len(result.index) // _MOST_POINTS)
    index = result.index[::every]
    truth, value = data.truth[result.target][index, -1], result.served[::every, -1]
    if result.target == "vol":
        axes.loglog(value, truth, ".", ms=1, alpha=0.3)
        ends = [float(min(value.min(), truth.min())), float(max(value.max(), truth.max()))]
        axes.plot(ends, ends, color="grey", lw=0.8)
    else:
        origin = result.models["persistence"][::every, -1]
        axes.plot(np.log(value / origin), np.log(truth / origin), ".", ms=1, alpha=0.3)
        axes.axhline(0.0, color="grey", lw=0.8)
    axes.set(xlabel=f"forecast, {HORIZONS_S[-1]} s", ylabel="truth")


def importance(axes: Axes, result: Backtest) -> None:
    """Total gain of the inputs in the newest XGBoost models, summed over horizons."""
    total = np.zeros(len(NAMES))
    for booster in result.folds[-1].fitted.boosters.get("xgboost", ()):
        for name, gain in booster.get_score(importance_type="total_gain").items():
            total[int(name[1:])] += gain
    order = np.argsort(total)[-_TOP_INPUTS:]
    axes.barh([NAMES[i] for i in order], total[order] / max(total.sum(), 1e-12))
    axes.tick_params(labelsize=7)
    axes.set(xlabel="share of total gain")


def markdown(body: dict[str, Any]) -> str:
    """The figures as Markdown tables."""
    lines = [
        f"# Forecasts of {', '.join(body['symbols'])}",
        "",
        f"{body['from']} to {body['to']}, rows {body['rows']}.",
    ]
    for target, (key, title) in LOSS.items():
        horizons = list(body[target])
        lines += ["", f"## {target}: {title}", "", "| model | " + " | ".join(f"{h} s" for h in horizons) + " |"]
        lines.append("|---" * (len(horizons) + 1) + "|")
        for name in body[target][horizons[0]]["models"]:
            cells = [f"{body[target][h]['models'][name][key]:.5f}" for h in horizons]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        for row in ("best_baseline", "champion", "ratio", "dm_p", "coverage_80", "coverage_95"):
            cells = [_cell(body[target][h][row]) for h in horizons]
            lines.append(f"| **{row}** | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.4f}" if isinstance(value, float) else str(value)


def _save(path: Path, title: str, draw: Callable[[Axes], None]) -> None:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title)
    figure.savefig(path, dpi=110)


def _page(text: str, images: list[Path]) -> str:
    lines = "".join(_html_line(line) for line in text.splitlines() if not line.startswith("|---"))
    tables = f"<table>{lines}</table>"
    pictures = "".join(
        f'<img alt="{path.stem}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        for path in images
    )
    style = "body{font:15px sans-serif;max-width:60em;margin:2em auto}td{padding:.1em .7em;text-align:right}"
    return f"<!doctype html><meta charset=utf-8><title>Forecasts</title><style>{style}</style>{tables}{pictures}"


def _html_line(line: str) -> str:
    if line.startswith("|"):
        cells = "".join(f"<td>{html.escape(cell.strip(' *'))}</td>" for cell in line.strip("|").split("|"))
        return f"<tr>{cells}</tr>"
    level = len(line) - len(line.lstrip("#"))
    if level:
        return f"</table><h{level}>{html.escape(line.strip('# '))}</h{level}><table>"
    return f"</table><p>{html.escape(line)}</p><table>" if line else ""
