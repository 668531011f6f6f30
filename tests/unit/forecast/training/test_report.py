"""The readable report: every figure of the JSON that matters is in it, and every plot is a picture."""

from pathlib import Path

import pytest

from forecast import evaluate
from forecast.data.dataset import Dataset
from forecast.model.targets import TARGETS, Target
from forecast.training import backtest, report
from forecast.training.backtest import Backtest
from forecast.training.fitting import Tuning
from forecast.training.walkforward import Schedule

QUICK = Tuning(trees=5, depth=3, patience=3)


@pytest.fixture(scope="module")
def written(market: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The report of a small market."""
    plan = Schedule(folds=1, burn_in=1)
    results: dict[Target, Backtest] = {t: backtest.run(market, t, plan, QUICK) for t in TARGETS}
    body = evaluate.describe(market) | {t: backtest.report(market, result) for t, result in results.items()}
    folder = tmp_path_factory.mktemp("report")
    report.write(folder, market, results, body)
    return folder


def test_each_plot_is_a_picture_and_the_page_holds_them_all(written: Path) -> None:
    plots = sorted(path.name for path in written.glob("*.png"))
    names = ["calibration", "importance", "newest", "skill"]
    assert plots == sorted([*(f"{t}_{n}.png" for t in TARGETS for n in names), "vol_truth.png"])
    assert all((written / name).read_bytes().startswith(b"\x89PNG") for name in plots)
    assert (written / "report.html").read_text().count("data:image/png;base64,") == len(plots)
    assert all(f"![{name}]({name})" in (written / "report.md").read_text() for name in plots)


def test_the_page_has_a_row_per_model_and_figure(written: Path) -> None:
    page = (written / "report.html").read_text()
    for target, models in (("vol", 8), ("bid", 5)):
        table = page.split(f"<h2>{target}")[1].split("</table>")[0]
        assert table.count("<tr>") == 1 + models + len(report.ROWS)
        assert table.count("<td>") == 6 * (models + len(report.ROWS))
    assert "<b>bid</b>: RMSE of what was served is 1.000 to 1.000 times" in page
    assert "**" not in page and "|" not in page.split("<img")[0]
