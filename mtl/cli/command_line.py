"""From words on the command line to one command, and from its mistakes to sentences and exit codes."""

import argparse
import io
import sys
from collections.abc import Callable, Sequence

from mtl.cli import own_pictures, training, views
from mtl.errors import RunStopped, UserError


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Returns the exit code: 0 done, 1 stopped, 2 a mistake of the user, 130 interrupted.
    """
    for stream in (sys.stdout, sys.stderr):  # a terminal that lacks a letter of a name still shows the rest
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    given = _parse(arguments)
    command: Callable[[argparse.Namespace], None] = given.command
    try:
        command(given)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except RunStopped as error:
        print(f"stopped: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt as error:
        print(str(error) or "interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:  # the reader, as in `| head`, has had enough
        sys.stderr.close()
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Overrides may stand on both sides of a flag, which argparse alone does not allow."""
    parser = _parser()
    given, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(given, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        given.overrides += rest
    return given


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="run_meta.py",
        description="Few-shot image classification by meta-transfer learning, with hard-task resampling.",
        epilog="Start with: python run_meta.py run --config configs/quickstart.yaml\n"
        "Own pictures: python run_meta.py predict --run checkpoints/quickstart --support my_things "
        "--query new_pictures",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for part in (training, views, own_pictures):
        part.add_to(commands)
    return parser
