"""Renders an evaluation as plots and a report in HTML and Markdown."""

import base64
import html
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from forecast.data.dataset import Dataset
from forecast.model.inputs import NAMES
from forecast.model.targets import Target
from forecast.training.backtest import SERVED, Backtest
from lakehouse.settings import HORIZONS_S

LOSS: dict[Target, tuple[str, str]] = {"vol": ("qlike", "QLIKE"), "bid": ("ratio", "RMSE over persistence's")}
ROWS = {
    "best_baseline": "best rule in hindsight",
    "ratio": "served over best rule",
    "dm_p": "p (Diebold-Mariano)",
    "coverage_80": "inside the 80 % interval",
    "coverage_95": "inside the 95 % interval",
    "interval_score_80": "80 % interval score",
    "normal_interval_score_80": "… of a plain normal interval",
    "interval_score_95": "95 % interval score",
    "normal_interval_score_95": "… of a plain normal interval",
    "champion": "serves now",
}
_MAX_POINTS = 20_000
_NEWEST_ROWS = 300
_TOP_INPUTS = 20
_COLOURS = {
    SERVED: "black",
    "xgboost": "tab:blue",
    "lightgbm": "tab:cyan",
    "linear": "tab:green",
    "ewma": "tab:orange",
    "har": "tab:red",
    "persistence": "tab:red",
}


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
            "newest": lambda axes, r=result: newest(axes, data, r),  # type: ignore[misc]
            "importance": lambda axes, r=result: importance(axes, r),  # type: ignore[misc]
        }
        if target == "vol":
            plots["truth"] = lambda axes, r=result: forecast_and_truth(axes, data, r)  # type: ignore[misc]
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
    names = [n for n in figures[horizons[0]]["models"] if n in _COLOURS]
    for name in names:
        values = [figures[h]["models"][name]["ratio"] for h in horizons]
        served = name == SERVED
        label = "champion (what the gate served)" if served else name
        style = {"lw": 3.0, "zorder": 3.0} if served else {"lw": 1.0}
        axes.plot([int(h) for h in horizons], values, marker="o", color=_COLOURS[name], label=label, **style)  # type: ignore[arg-type]
    axes.axhline(1.0, color="grey", lw=0.8)
    axes.set_xticks([int(h) for h in horizons])
    axes.set(xlabel="horizon, s", ylabel="loss over best rule's (below 1: better)")
    axes.legend(fontsize=8)


def calibration(axes: Axes, figures: dict[str, Any]) -> None:
    """By how many points coverage misses its level, by horizon; the bars span any 7 days."""
    positions = np.arange(len(figures))
    for level, shift in ((80, -0.1), (95, 0.1)):
        middle = 100 * np.array([f[f"coverage_{level}"] for f in figures.values()]) - level
        week = 100 * np.array([f[f"coverage_{level}_7d"] for f in figures.values()]) - level
        errors = np.abs(np.vstack([middle - week[:, 0], week[:, 1] - middle]))
        axes.errorbar(positions + shift, middle, yerr=errors, fmt="o", capsize=4, label=f"{level} % interval")
    axes.axhline(0.0, color="grey", lw=0.8)
    most = max(3.0, 1.1 * max(abs(end) for end in axes.get_ylim()))
    axes.set_ylim(-most, most)
    axes.set_xticks(positions, [f"{h}" for h in figures])
    axes.set(xlabel="horizon, s", ylabel="coverage minus level, points (bars: any 7 days)")
    axes.legend(fontsize=8)


def newest(axes: Axes, data: Dataset, result: Backtest) -> None:
    """The newest judged rows in time: what was served at the longest horizon with its intervals, and what happened."""
    rows = slice(-_NEWEST_ROWS, None)
    index = result.index[rows]
    series = {"truth": data.truth[result.target][index, -1], "served": result.served[rows, -1]}
    ends = [end[rows, -1] for end in result.ends]
    if result.target == "bid":
        origin = result.models["persistence"][rows, -1]
        series = {name: 1e4 * np.log(values / origin) for name, values in series.items()}
        ends = [1e4 * np.log(end / origin) for end in ends]
    when = data.ts[index].astype("datetime64[us]")
    axes.fill_between(when, ends[2], ends[3], color="tab:blue", alpha=0.15, lw=0, label="95 %")
    axes.fill_between(when, ends[0], ends[1], color="tab:blue", alpha=0.25, lw=0, label="80 %")
    axes.plot(when, series["served"], color="tab:blue", lw=1, label="served")
    axes.plot(when, series["truth"], ".", color="black", ms=3, label="what happened")
    if result.target == "vol":
        axes.set_yscale("log")
    unit = "volatility" if result.target == "vol" else "log return of the bid, bp"
    axes.set(xlabel="time of the forecast, UTC", ylabel=f"{unit}, next {HORIZONS_S[-1]} s")
    axes.tick_params(axis="x", labelrotation=20, labelsize=7)
    axes.legend(fontsize=8)


def forecast_and_truth(axes: Axes, data: Dataset, result: Backtest) -> None:
    """Volatilities served at the longest horizon beside those that happened, and the root mean square of each tenth."""
    every = max(1, len(result.index) // _MAX_POINTS)
    truth, value = data.truth[result.target][result.index[::every], -1], result.served[::every, -1]
    axes.loglog(value, truth, ".", ms=1, alpha=0.3)
    tenths = np.array_split(np.argsort(value), 10)
    means = np.array([[np.sqrt((x[part] ** 2).mean()) for part in tenths] for x in (value, truth)])
    axes.loglog(*means, "o-", color="black", ms=4, lw=1, label="tenths of the forecasts, root mean square")
    ends = [float(min(value.min(), truth.min())), float(max(value.max(), truth.max()))]
    axes.plot(ends, ends, color="grey", lw=0.8, label="forecast = truth")
    axes.set(xlabel=f"volatility served, {HORIZONS_S[-1]} s", ylabel="what happened")
    axes.legend(fontsize=8)


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


def headline(body: dict[str, Any]) -> list[str]:
    """One sentence per target: what was served against the best rule in hindsight."""
    lines = []
    for target, (_, title) in LOSS.items():
        ratios = [f["ratio"] for f in body[target].values()]
        clear = sum(f["dm_p"] < 0.01 and f["ratio"] < 1 for f in body[target].values())
        span = f"{min(ratios):.3f} to {max(ratios):.3f}"
        lines.append(
            f"**{target}**: {title if target == 'vol' else 'RMSE'} of what was served is {span} times the best rule's; "
            f"better with p < 0.01 at {clear} of {len(ratios)} horizons."
        )
    return lines


def markdown(body: dict[str, Any]) -> str:
    """The figures as Markdown tables."""
    left_out = ", ".join(f"{count:,} {reason.replace('_', ' ')}" for reason, count in body["rows"].items() if count)
    lines = [f"# Forecasts of {', '.join(body['symbols'])}", "", f"{body['from']} to {body['to']}. Rows: {left_out}."]
    for line in headline(body):
        lines += ["", line]
    for target, (key, title) in LOSS.items():
        horizons = list(body[target])
        judged = body[target][horizons[0]]["n"]
        lines += ["", f"## {target}: {title}, out of sample on {judged:,} rows", ""]
        lines += ["| model | " + " | ".join(f"{h} s" for h in horizons) + " |", "|---" * (len(horizons) + 1) + "|"]
        for name in body[target][horizons[0]]["models"]:
            cells = [f"{body[target][h]['models'][name][key]:.5f}" for h in horizons]
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        for row, said in ROWS.items():
            cells = [_cell(body[target][h][row]) for h in horizons]
            lines.append(f"| *{said}* | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _cell(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _save(path: Path, title: str, draw: Callable[[Axes], None]) -> None:
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.subplots()
    draw(axes)
    axes.set_title(title)
    figure.savefig(path, dpi=110)


def _page(text: str, images: list[Path]) -> str:
    parts = [_block(block) for block in re.split(r"\n{2,}", text)]
    pictures = "".join(
        f'<img alt="{path.stem}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        for path in images
    )
    style = (
        "body{font:15px/1.4 sans-serif;max-width:70em;margin:2em auto;padding:0 1em}"
        "table{border-collapse:collapse;font-size:13px}td,th{padding:.15em .8em;text-align:right}"
        "td:first-child,th:first-child{text-align:left}tr:nth-child(even){background:#f2f2f2}"
        "th{border-bottom:1px solid #888}img{max-width:49%}"
    )
    body = "".join(parts) + pictures
    return f'<!doctype html><html lang="en"><meta charset="utf-8"><title>Forecasts</title><style>{style}</style>{body}'


def _block(block: str) -> str:
    """One block of the Markdown written here: a heading, a table or a paragraph."""
    if block.startswith("|"):
        head, _, *rows = block.splitlines()
        return f"<table>{_row(head, 'th')}{''.join(_row(row, 'td') for row in rows)}</table>"
    level = len(block) - len(block.lstrip("#"))
    return f"<h{level}>{_inline(block.strip('# '))}</h{level}>" if level else f"<p>{_inline(block)}</p>"


def _row(line: str, tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{_inline(cell.strip())}</{tag}>' for cell in line.strip('|').split('|'))}</tr>"


def _inline(text: str) -> str:
    strong = re.sub(r"\*\*(.+?)\*\*", r"<b>\1</b>", html.escape(text))
    return re.sub(r"\*(.+?)\*", r"<i>\1</i>", strong)
