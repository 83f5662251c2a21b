"""A worker of `compare --jobs N`: a process that does jobs until none is left, each with its own log.

It reads what to do as a line of JSON on standard input, whose end says that the parent has ended, and writes
the place of each job that it begins to standard output.
"""

import faulthandler
import json
import os
import signal
import socket
import sys
import threading
import time
import traceback
from contextlib import redirect_stderr, suppress
from dataclasses import replace
from typing import TextIO

from mtl.compare.jobs import Job, Jobs
from mtl.compare.work import JobRunner, work
from mtl.config import Log, read_config
from mtl.errors import RunStopped, UserError
from mtl.runtime.failures import failure
from mtl.runtime.progress import tell
from mtl.training.run_data import load_run_data

_LOG_SECONDS = 5.0  # between two lines of a log: the parent shows progress from them


class Logged:
    """Does a job with all of its output in the log of its run folder; `events` is told its place."""

    def __init__(self, runner: JobRunner, events: TextIO | None = None) -> None:
        self.runner, self.events = runner, events

    def __call__(self, job: Job) -> None:
        jobs = self.runner.jobs
        place, before = jobs.all.index(job), os.dup(2)
        log = jobs.log(job).open("a", encoding="utf-8", errors="backslashreplace")
        with log, redirect_stderr(log):
            os.dup2(log.fileno(), 2)  # also of what libraries in C write
            try:
                if self.events is not None:
                    with suppress(
                        BrokenPipeError
                    ):  # the parent has ended: this process will be asked to stop
                        print(place, file=self.events, flush=True)
                started = time.strftime("%Y-%m-%d %H:%M:%S")
                tell(f"{job}: process {os.getpid()} on {socket.gethostname()}, {started}")
                self.runner(job)
            except Exception as error:
                reason = str(error) if isinstance(error, UserError | RunStopped) else failure(error)
                tell(reason or traceback.format_exc())
                if reason is None:  # an error of the program: the others go on
                    raise RunStopped(f"{type(error).__name__}: {error}".strip(": ")) from None
                raise
            finally:
                os.dup2(before, 2)
                os.close(before)


def main() -> int:
    """Does the jobs; exit codes as of the command line."""
    faulthandler.enable()
    events = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # what else is printed is no event
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        order = json.loads(sys.stdin.readline())
        threading.Thread(target=_end_with_parent, daemon=True).start()
        config = read_config(order["config"], "config of the comparison")
        every = min(config.log.every_seconds, _LOG_SECONDS)
        config = replace(config, log=replace(config.log, quiet=False, every_seconds=every))
        run_data = load_run_data(config)
        jobs = Jobs(config, len(run_data.pretrain_images), order["seeds"])
        work(jobs, Logged(JobRunner(jobs, run_data), events), Log(quiet=True))
    except KeyboardInterrupt:
        return 130
    except UserError as error:
        tell(f"error: {error}")
        return 2
    return 0


def _end_with_parent() -> None:
    """Asks this process to stop when the parent has ended."""
    while os.read(0, 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main())
