"""The conventions of every command: result on stdout, logs on stderr, one-line errors, exit statuses, an example."""

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from lakehouse.errors import LakeError, NothingToDoError, RetryableError
from tradelake.interruption import InterruptedCommand, interruptible, leave
from tradelake.statuses import ExitStatus

if TYPE_CHECKING:
    from lakehouse.settings import Settings

JSON = click.Option(["--json", "as_json"], is_flag=True, help="Print the result as one line of JSON.")


@dataclass(frozen=True, slots=True)
class CommandResult:
    """The result of a command.

    Attributes:
        data: for ``--json``: dataclasses, lists, plain values; or a function that returns them.
        text: for people; by default a table of ``data``.
        status: the exit status.
    """

    data: object
    text: str | None = None
    status: ExitStatus = ExitStatus.OK


class DocumentedCommand(click.Command):
    """A command whose help shows at least one example."""

    def __init__(self, *positional: Any, example: str, **named: Any) -> None:
        super().__init__(*positional, **named)
        self.example = example

    def format_epilog(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes the examples unchanged, one per line."""
        with formatter.section("Examples"):
            for line in self.example.splitlines():
                formatter.write(f"{'':{formatter.current_indent}}{line.strip()}\n")


class LakeCommand(DocumentedCommand):
    """A command that runs once: it returns a result, raises a `LakeError`, or is stopped by a signal."""

    def __init__(self, *positional: Any, **named: Any) -> None:
        super().__init__(*positional, **named)
        self.params.append(JSON)

    def invoke(self, context: click.Context) -> None:
        """Runs the callback under the conventions and ends with its `ExitStatus`."""
        as_json = context.params.pop("as_json")
        context.obj = stop = threading.Event()
        try:
            with interruptible(stop):
                result = super().invoke(context)
                result = result if isinstance(result, CommandResult) else CommandResult(result)
                click.echo(_json(result) if as_json else _text(result), nl=False)
        except LakeError as error:
            context.exit(report(error))
        except InterruptedCommand as signalled:
            click.echo(f"stopped by {signalled}: finished work stays, run the command again for the rest", err=True)
            leave(signalled.status)
        context.exit(result.status)


def lake_settings() -> "Settings":
    """The settings of the lake, with logs on stderr at their level.

    Raises:
        FatalError: one of them is wrong.
    """
    from lakehouse.process import set_up_logging
    from lakehouse.settings import load_settings

    settings = load_settings()
    set_up_logging(settings.log_level)
    return settings


def report(error: LakeError) -> ExitStatus:
    """Prints the error as one line on stderr and returns the exit status."""
    nothing = isinstance(error, NothingToDoError)
    click.echo(f"{'nothing to do' if nothing else 'error'}: {' '.join(str(error).split())}", err=True)
    if nothing:
        return ExitStatus.NOTHING_TO_DO
    return ExitStatus.FAILED if isinstance(error, RetryableError) else ExitStatus.REFUSED


def command(name: str, example: str) -> Callable[[Callable[..., object]], LakeCommand]:
    """Declares a command that runs once; its docstring is the help, its return value the result."""
    return click.command(name, cls=LakeCommand, example=example)


def process_command(name: str, example: str) -> Callable[[Callable[..., object]], DocumentedCommand]:
    """Declares a command that runs until stopped and handles signals and errors itself."""
    return click.command(name, cls=DocumentedCommand, example=example)


def _json(result: CommandResult) -> bytes:
    import orjson

    data = result.data() if callable(result.data) else result.data
    options = orjson.OPT_APPEND_NEWLINE | orjson.OPT_SERIALIZE_NUMPY | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(data, option=options)


def _text(result: CommandResult) -> str:
    from tradelake.tables import table

    text = result.text if result.text is not None else table(result.data)
    return f"{text}\n" if text else ""
