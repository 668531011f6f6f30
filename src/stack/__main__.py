"""``python -m stack up|down|status|logs``: the part of scripts/*.sh that needs the virtual environment."""

import argparse
import json
import os
import signal
import sys

from lakehouse.errors import FatalError, LakeError
from lakehouse.settings import Settings, load_settings
from lakehouse.stores.questdb import QuestDB
from stack import envfile
from stack.commands import formatting
from stack.commands.down import down
from stack.commands.status_report import gather
from stack.commands.up import up
from stack.layout import Layout, layout
from stack.supervision.process import Process
from stack.supervision.process_table import processes
from stack.supervision.supervisor import Supervisor


def main() -> None:
    """Runs one command; an error is one clear line and status 1."""
    # `status | head` ends us quietly, as it does every other command.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    arguments = _parser().parse_args()
    try:
        sys.exit(arguments.run(arguments))
    except LakeError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(1)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="stack", description="Runs the lake on this machine.")
    commands = parser.add_subparsers(required=True)
    start = commands.add_parser("up", help="start everything, wait until it is healthy and data flows")
    start.add_argument("--source", choices=("auto", "kraken", "simulator"), default="auto", help="which market")
    start.add_argument("--full", action="store_true", help="also MinIO and Airflow")
    start.set_defaults(run=_up)
    commands.add_parser("down", help="stop everything, losing nothing").set_defaults(run=_down)
    status = commands.add_parser("status", help="processes and tables; status 1 when something is unhealthy")
    status.add_argument("--json", action="store_true", help="for programs")
    status.add_argument("--secrets", action="store_true", help="show users and passwords instead")
    status.set_defaults(run=_status)
    logs = commands.add_parser("logs", help="the log of one process")
    logs.add_argument("name", help="a process, as in status")
    logs.add_argument("-f", "--follow", action="store_true", help="go on as it grows")
    logs.add_argument("-n", "--lines", type=int, default=100, help="how many lines from the end (default 100)")
    logs.set_defaults(run=_logs)
    query = commands.add_parser("sql", help="run one query as the user that can only read")
    query.add_argument("query", help='SQL, e.g. "SELECT * FROM gold_ohlc_1m LIMIT -5"')
    query.set_defaults(run=_sql)
    commands.add_parser("env-example", help="print .env.example").set_defaults(run=_env_example)
    return parser


def _lake() -> tuple[Settings, Layout, tuple[Process, ...]]:
    settings = load_settings()
    paths = layout(settings)
    return settings, paths, processes(settings, paths)


def _say(text: str) -> None:
    print(text, flush=True)


def _up(arguments: argparse.Namespace) -> int:
    up(arguments.source, arguments.full, _say)
    return 0


def _down(_: argparse.Namespace) -> int:
    down(*_lake(), _say)
    return 0


def _status(arguments: argparse.Namespace) -> int:
    settings, paths, table = _lake()
    if arguments.secrets:
        print(formatting.secrets(settings))
        return 0
    supervisor = Supervisor(paths)
    if not supervisor.is_running():
        raise FatalError("the lake is not running: scripts/up.sh starts it")
    states = supervisor.states()
    report = gather(settings, [process for process in table if process.name in states], states)
    print(json.dumps(report.as_json(), indent=2) if arguments.json else formatting.status(report))
    return 0 if report.healthy else 1


def _logs(arguments: argparse.Namespace) -> int:
    _, paths, table = _lake()
    names = [process.name for process in table]
    path = paths.logs / f"{arguments.name}.log"
    if arguments.name not in names:
        raise FatalError(f"no process {arguments.name!r}: choose one of {', '.join(names)}")
    if not path.exists():
        raise FatalError(f"{arguments.name} has no log yet: scripts/up.sh starts it")
    follow = ["-F"] if arguments.follow else []
    os.execvp("tail", ["tail", "-n", str(arguments.lines), *follow, str(path)])  # noqa: S606


def _sql(arguments: argparse.Namespace) -> int:
    database = QuestDB(load_settings(), readonly=True)
    try:
        names, rows = database.table(arguments.query)
    finally:
        database.close()
    print(
        formatting.columns([names, *([formatting.cell(value) for value in row] for row in rows)]) if names else "done"
    )
    return 0


def _env_example(_: argparse.Namespace) -> int:
    print(envfile.example(), end="")
    return 0


if __name__ == "__main__":
    main()
