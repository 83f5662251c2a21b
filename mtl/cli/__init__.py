"""The command line: one subcommand a stage, no logic of its own."""

from mtl.cli.command_line import main

__all__ = ["main"]
