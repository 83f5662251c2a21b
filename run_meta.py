"""Few-shot classification by meta-transfer learning: `python run_meta.py --help`."""

import os
import signal
import sys

HERE = os.path.dirname(os.path.abspath(__file__))


def start() -> int:
    """Runs the command line; what is missing to run it becomes a sentence."""
    if sys.version_info < (3, 11):  # noqa: UP036  # older Pythons get this far, and no further
        return missing("Python 3.11 or newer is needed, and this is Python " + sys.version.split()[0])
    try:
        before = signal.getsignal(signal.SIGINT)
        if before is signal.default_int_handler:  # a KeyboardInterrupt breaks some modules' imports oddly
            signal.signal(signal.SIGINT, end_at_once)
        from mtl.cli import main

        signal.signal(signal.SIGINT, before)
        return main()
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] == "mtl":
            raise
        return missing(error.name + " is not installed")
    except KeyboardInterrupt:  # before `main` handles it
        sys.stderr.write("interrupted\n")
        return 130


def end_at_once(number: int, frame: object) -> None:
    """Ends the process while modules are imported: there is nothing to save yet."""
    os.write(2, b"interrupted\n")
    os._exit(130)


def missing(what: str) -> int:
    """Says what this interpreter lacks, and how to get it."""
    activate = os.path.join(HERE, ".venv", "bin", "activate")
    if os.path.exists(activate):
        way_out = "`source " + activate + "` first"
    else:
        way_out = "`make install` makes an environment here, then `source .venv/bin/activate`"
    sys.stderr.write("error: " + what + " (" + sys.executable + "); " + way_out + "\n")
    return 2


if __name__ == "__main__":
    sys.exit(start())
