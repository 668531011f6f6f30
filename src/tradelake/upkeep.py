"""Commands for developers and schedulers: docs, env-example, task-result."""

from pathlib import Path

import click

from tradelake.conventions import CommandResult, command, lake_settings


@command("docs", "tradelake docs docs")
@click.argument("folder", type=click.Path(path_type=Path, exists=True, file_okay=False), default=Path("docs"))
def docs(folder: Path) -> None:
    """Write the pages generated from code: configuration, data dictionary, features."""
    from features import docs as features
    from lakehouse import docs as lakehouse

    lakehouse.write(folder)
    features.write(folder)


@command("env-example", "tradelake env-example > .env.example")
def env_example() -> CommandResult:
    """Print .env.example."""
    from stack.envfile import example

    text = example()
    return CommandResult(text.splitlines(), text.rstrip("\n"))


@command("task-result", "tradelake task-result backup_daily backup success --tries 1")
@click.argument("dag")
@click.argument("task")
@click.argument("state", type=click.Choice(("success", "skipped", "failed")))
@click.option("--tries", type=click.IntRange(min=0), default=1, help="Number of attempts.")
def task_result(dag: str, task: str, state: str, tries: int) -> object:
    """Record the outcome of an Airflow task for the dashboards; called by the DAGs."""
    from lakehouse.task_results import finding, write

    return write(lake_settings(), finding(dag, task, state, tries))


COMMANDS: tuple[click.Command, ...] = (docs, env_example, task_result)
