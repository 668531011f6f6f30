"""Commands of the models: train, evaluate, models, quality, replay, score-once."""

import threading
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import click

from tradelake.conventions import CommandResult, command, lake_settings
from tradelake.files import FILE, file_options
from tradelake.values import BUDGET, DAY, POSITIVE, SYMBOLS

if TYPE_CHECKING:
    from forecast.model.targets import Target
    from forecast.registry.client import RegistryClient
    from formats.refusal import ReadOptions

STEPS = ("prepare", "leaks", "tune", "evaluate", "decide")
TARGETS = ("bid", "vol")


@command("train", "tradelake train --promote\ntradelake train --symbols BTC/USD,ETH/USD --days 30 --tuning-budget 90s")
@click.option("--symbols", type=SYMBOLS, default=(), help="Comma-separated symbols; by default the lake's.")
@click.option("--days", type=POSITIVE, default=14.0, show_default=True, help="Train on this many of the newest days.")
@click.option(
    "--tuning-budget", "budget", type=BUDGET, default="0", help="Trials (20) or seconds (90s) per target; 0: no tuning."
)
@click.option("--promote", is_flag=True, help="Promote a challenger that wins to champion.")
@click.option("--lake", help="s3://BUCKET: only train and evaluate boosters on the lake's Parquet.")
@click.option("--dask", metavar="ADDRESS", help="Use the workers of this Dask scheduler; needs --lake.")
@click.option("--folder", type=FILE, help="Working folder of the steps; by default a temporary one.")
@click.option("--step", type=click.Choice(STEPS), help="Run one step only; needs --folder.")
def train(
    symbols: tuple[str, ...],
    days: float,
    budget: str,
    promote: bool,
    lake: str | None,
    dask: str | None,
    folder: Path | None,
    step: str | None,
) -> object:
    """Train on the lake: dataset, leak gate, tuning, evaluation, challengers, decision.

    With too little history nothing is trained, and the simple rules continue to serve.
    """
    if step and not folder:
        raise click.UsageError("--step needs --folder")
    if dask and not lake:
        raise click.UsageError("--dask needs --lake")
    from forecast.train import TrainingOptions, train_on_archive
    from forecast.train import train as run_training

    settings = lake_settings()
    if lake:
        return train_on_archive(settings, lake, dask, symbols)
    return run_training(settings, TrainingOptions(symbols, days, budget, promote), folder, step)


@command(
    "evaluate",
    """tradelake evaluate --trades trades.parquet --quotes quotes.parquet
    tradelake evaluate --bars XBTUSD_1.csv --folds 4 --report report.json""",
)
@click.option("--trades", type=FILE, help="Trades in any format: ts, price, qty [symbol, trade_id, side].")
@click.option("--quotes", type=FILE, help="Best quotes: ts, bid, ask [symbol, bid_qty, ask_qty].")
@click.option("--bars", type=FILE, help="Minute bars: ts, open, high, low, close, volume.")
@click.option("--symbol", help="Symbol to evaluate, if a file holds several.")
@file_options
@click.option("--report", type=FILE, help="Also write all results as JSON to this file.")
@click.option(
    "--folds", type=click.IntRange(min=1), default=6, show_default=True, help="Number of evaluated stretches."
)
def evaluate(
    trades: Path | None,
    quotes: Path | None,
    bars: Path | None,
    symbol: str | None,
    report: Path | None,
    folds: int,
    reading: "ReadOptions",
) -> CommandResult:
    """Evaluate every model and rule on your own files; needs no server."""
    if quotes and not trades:
        raise click.UsageError("--quotes needs --trades")
    if bool(bars) == bool(trades):
        raise click.UsageError("give either --trades (and --quotes), or --bars")
    import json

    from forecast import evaluate as evaluation
    from lakehouse.process import set_up_logging

    set_up_logging()
    if report:
        evaluation.prepare(report)
    body = evaluation.evaluate_files(trades, quotes, bars, symbol, folds, reading)
    if report:
        report.write_text(json.dumps(body, indent=1, allow_nan=False))
    return CommandResult(body, f"{evaluation.table(body)}\n{body['seconds']} s")


@command("quality", "tradelake quality\ntradelake quality --feed")
@click.option("--feed", is_flag=True, help="Only check whether data flows; writes nothing.")
def quality(feed: bool) -> object:
    """Check live skill, coverage, drift, freshness and holes. Roll back a champion that stays worse than its rule."""
    from forecast.quality import check, check_feed, summary

    settings = lake_settings()
    return summary((check_feed if feed else check)(settings, settings.symbols, datetime.now(UTC)))


@command("replay", "tradelake replay\ntradelake replay --day 2026-01-05")
@click.option("--day", type=DAY, help="UTC day to replay; by default yesterday.")
def replay(day: date | None) -> object:
    """Recompute a day's feature rows and forecasts. Exit status 3 if one differs from what was served."""
    from forecast.replay import proven

    return proven(lake_settings(), day or datetime.now(UTC).date() - timedelta(days=1))


@command("score-once", "tradelake score-once")
@click.pass_obj
def score_once(stop: threading.Event) -> object:
    """Score the forecasts that are due now; the process `score` does so continuously."""
    from forecast.score import score_once as score

    return {"scored": score(lake_settings(), stop)}


@click.group("models")
def models() -> None:
    """Manage the models in the registry: init, list, promote, rollback."""


@command("init", "tradelake models init")
def init_models() -> CommandResult:
    """Register the simple rules as champions where there is none."""
    registry = _registry()
    registry.ensure_baselines()
    return _versions(registry)


@command("list", "tradelake models list")
def list_models() -> CommandResult:
    """List every version with its aliases and last decision."""
    return _versions(_registry())


@command("promote", "tradelake models promote vol 7 --reason 'better on last week'")
@click.argument("target", type=click.Choice(TARGETS))
@click.argument("version", type=int)
@click.option("--reason", default="by hand", show_default=True)
def promote_model(target: "Target", version: int, reason: str) -> CommandResult:
    """Make this version the champion."""
    registry = _registry()
    registry.promote(target, version, reason)
    return _versions(registry)


@command("rollback", "tradelake models rollback vol")
@click.argument("target", type=click.Choice(TARGETS))
@click.option("--reason", default="by hand", show_default=True)
def roll_back_model(target: "Target", reason: str) -> CommandResult:
    """Make the champion's predecessor champion again."""
    registry = _registry()
    click.echo(f"{target}: champion is {registry.rollback(target, reason)}", err=True)
    return _versions(registry)


for _command in (init_models, list_models, promote_model, roll_back_model):
    models.add_command(_command)


def _registry() -> "RegistryClient":
    from forecast.registry.client import RegistryClient

    return RegistryClient(lake_settings())


def _versions(registry: "RegistryClient") -> CommandResult:
    from forecast.registry.listing import line, versions

    found = versions(registry)
    return CommandResult(found, "\n".join(map(line, found)))


COMMANDS: tuple[click.Command, ...] = (train, evaluate, models, quality, replay, score_once)
