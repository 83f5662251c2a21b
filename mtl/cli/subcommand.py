"""What all subcommands share."""

import argparse
import os
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    Commands = argparse._SubParsersAction[argparse.ArgumentParser]

Command = Callable[[argparse.Namespace], None]


def add(
    commands: "Commands", name: str, command: Command, summary: str, more: str
) -> argparse.ArgumentParser:
    """Adds a subcommand: `summary` is in the list of all, and with `more` above its own help."""
    sub = commands.add_parser(
        name,
        help=summary,
        description=textwrap.fill(f"{summary[0].upper()}{summary[1:]}. {more}", 100),
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    sub.set_defaults(command=command)
    return sub


def path(text: str) -> Path:
    """A path; ~ becomes the home folder even if no shell has seen it, as in --out=~/x."""
    return Path(os.path.expanduser(text))
