"""The command line: every command of the lake as a subcommand of ``tradelake``."""
