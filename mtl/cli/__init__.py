"""The command line: subcommands; errors become sentences and exit codes."""

import argparse
import atexit
import gc
import sys
from collections.abc import Callable, Sequence
from contextlib import nullcontext, redirect_stderr
from io import StringIO

from mtl.cli import own_images as own_pictures
from mtl.cli import training, views
from mtl.errors import RunStopped, UserError
from mtl.runtime.failures import failure, require_working_folder
from mtl.runtime.process import is_silent, lasting_streams, lost_output, processes, wait_for_first

_DESCRIPTION = "Few-shot image classification by meta-transfer learning, with hard-task resampling."
_START = """
Start with: python run_meta.py run --config configs/quickstart.yaml
Your own pictures:
  python run_meta.py predict --run checkpoints/quickstart --support my_things --query new_pictures
"""


def main(arguments: Sequence[str] | None = None) -> int:
    """Runs one subcommand.

    Returns the exit code: 0 done, 1 stopped (also by the system), 2 a mistake of the user, 130 interrupted.
    A command does all its work even if nobody reads standard output any more.
    """
    atexit.register(gc.freeze)  # searching for garbage as the process ends takes a second
    with lasting_streams():
        try:
            with redirect_stderr(StringIO()) if is_silent() else nullcontext():
                args = _parse(arguments)
        except SystemExit:
            wait_for_first()
            raise
        code, sentence = _run(args)
        if sentence and not (is_silent() and code == 130):
            print(sentence, file=sys.stderr)
        elif lost := lost_output():
            print(f"stopped: standard output: cannot be written ({lost})", file=sys.stderr)
            return 1
        return code


def _run(args: argparse.Namespace) -> tuple[int, str]:
    """Runs a command; its exit code, and a sentence for standard error or ""."""
    command: Callable[[argparse.Namespace], None] = args.command
    try:
        require_working_folder()
        if processes() > 1 and not getattr(args, "together", False):
            raise UserError(
                "torchrun: run, pretrain, meta-train and evaluate are for several processes; start this "
                "command without torchrun (compare has --jobs and --slurm)"
            )
        command(args)
    except UserError as error:
        return 2, f"error: {error}"
    except RunStopped as error:
        return 1, f"stopped: {error}"
    except KeyboardInterrupt as error:
        return 130, str(error) or "interrupted"
    except Exception as error:
        sentence = failure(error, resumable=hasattr(args, "resume"))
        if sentence is None:  # an error of the program keeps its traceback
            raise
        return 1, f"stopped: {sentence}"
    return 0, ""


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parses the arguments; overrides may be on both sides of an option, which argparse does not allow."""
    parser = argparse.ArgumentParser(
        prog="run_meta.py",
        description=_DESCRIPTION,
        epilog=_START,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="command")
    for part in (training, views, own_pictures):
        part.add_to(commands)
    args, rest = parser.parse_known_args(arguments)
    if rest and (not hasattr(args, "overrides") or any(word.startswith("-") for word in rest)):
        parser.error(f"unrecognized arguments: {' '.join(rest)}")
    if rest:
        args.overrides += rest
    return args
