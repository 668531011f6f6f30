"""``tradelake``: one command over the whole lake, its subcommands in groups; packages are imported when one runs."""

import click

from tradelake import archive, files, forecasting, lake, machine, processes, upkeep

SECTIONS = {
    "This machine": (*machine.COMMANDS, *processes.COMMANDS),
    "The lake": (*files.COMMANDS, *lake.COMMANDS),
    "Models": forecasting.COMMANDS,
    "Backups and reading": archive.COMMANDS,
    "Upkeep": upkeep.COMMANDS,
}


class SectionedGroup(click.Group):
    """A group whose help lists the commands section by section."""

    def format_commands(self, _context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes one table per section."""
        for title, commands in SECTIONS.items():
            with formatter.section(title):
                formatter.write_dl([(str(each.name), each.get_short_help_str(90)) for each in commands])


@click.group(cls=SectionedGroup, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
def cli() -> None:
    """Tradelake: a medallion lakehouse for live crypto markets.

    Results go to stdout (--json for programs), progress and logs to stderr. Exit status: 0 done, 1 failed and a
    retry may help, 2 wrong usage, 3 refused or a check failed, 99 nothing to do, 128 + N stopped by signal N.
    """


for _commands in SECTIONS.values():
    for _command in _commands:
        cli.add_command(_command)
