"""`compare --jobs N`: workers on this machine that share the jobs, and one display of what they do."""

import json
import math
import os
import queue
import re
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from contextlib import suppress
from itertools import islice
from pathlib import Path

import torch
from tqdm import tqdm

from mtl.compare.jobs import LOG, Job, Jobs
from mtl.compare.work import STAGE
from mtl.config import Config, Log, to_dict
from mtl.errors import RunStopped, counted
from mtl.runtime.process import Interrupted, StopRequest
from mtl.runtime.progress import duration, tell

THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
_TRIES = 2  # of a job whose process was killed: it may be the job that fills the memory
_SHOWN = 4  # of the jobs under way
_LOOK = 1.0  # seconds between two looks at the logs


def run_workers(jobs: Jobs, count: int) -> None:
    """Does all jobs that are left in `count` processes; returns when nothing is left to do.

    Ctrl-C, SIGTERM and SIGHUP are passed on, so that every worker saves its checkpoint. If this process is
    killed its workers notice, and do the same.

    Raises:
        Interrupted: on these signals, when all workers have left.
        RunStopped: the workers cannot start.
    """
    left, log = len(jobs.left()), jobs.config.log
    if not left:
        return
    each = threads(jobs.config, count)
    share = counted(each, "thread")
    tell(f"{STAGE}: {left} of {len(jobs.all)} jobs are left, {count} at a time with {share} each", log)
    tell(f"{STAGE}: each has a log in its folder, {jobs.home.path}/*/*/{LOG}", log)
    if each * count > cores():
        tell(f"{STAGE}: runtime.threads={each} for {count} processes on {cores()} cores slows all down", log)
    workers = Workers(jobs, count)
    with StopRequest() as stop, Overview(jobs) as overview:
        try:
            for number in range(min(count, left)):
                workers.start(number)
            while workers.alive:
                workers.handle(stop.wanted, overview)
                if stop.wanted and not workers.stopping:
                    workers.stop()
                workers.tell_failures(overview)
                overview.show([job for job in workers.doing.values() if not jobs.done(job)])
        finally:
            workers.kill()
    if stop.wanted:
        done = sum(map(jobs.done, jobs.all))
        raise Interrupted(f"{STAGE}: stopped, {done} of {len(jobs.all)} jobs are done; --resume goes on")
    if workers.lost and not workers.began:
        raise RunStopped(f"{STAGE}: no worker could start; what they said stands above")


class Workers:
    """The processes, and what each of them does."""

    def __init__(self, jobs: Jobs, count: int) -> None:
        self.jobs, self.count = jobs, count
        self.order = json.dumps({"config": to_dict(jobs.config), "seeds": jobs.seeds})
        self.alive: dict[int, subprocess.Popen[str]] = {}
        self.doing: dict[int, Job] = {}
        self.killed: Counter[Job] = Counter()
        self.told: set[Job] = set()
        self.events: queue.SimpleQueue[tuple[int, str]] = queue.SimpleQueue()
        self.began = self.lost = self.stopping = False

    def start(self, number: int) -> None:
        """Starts a worker in a session of its own, which the terminal's Ctrl-C does not reach."""
        process = subprocess.Popen(
            [sys.executable, "-m", "mtl.compare.worker"],
            env=environment(self.jobs.config, number, self.count),
            stdin=subprocess.PIPE,  # its end tells the worker that this process has ended
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.alive[number] = process
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.write(self.order + "\n")
            process.stdin.flush()
        threading.Thread(target=self._listen, args=(number, process), daemon=True).start()

    def _listen(self, number: int, process: "subprocess.Popen[str]") -> None:
        assert process.stdout is not None
        for line in process.stdout:
            self.events.put((number, line))
        self.events.put((number, ""))  # it has ended

    def handle(self, stopping: bool, overview: "Overview") -> None:
        """Takes note of what a worker says, or waits a moment for that."""
        try:
            number, line = self.events.get(timeout=_LOOK)
        except queue.Empty:
            return
        if not line:
            self._ended(number, stopping, overview)
            return
        self.began, self.doing[number] = True, self.jobs.all[int(line)]

    def _ended(self, number: int, stopping: bool, overview: "Overview") -> None:
        process, job = self.alive.pop(number), self.doing.pop(number, None)
        code = process.wait()
        for pipe in (process.stdin, process.stdout):
            with suppress(OSError):
                assert pipe is not None
                pipe.close()
        if code == 0 or stopping:
            return
        if job is None or self.jobs.done(job) or self.jobs.own_failure(job):
            self.lost = True
            return
        self.killed[job] += 1
        what = f"its process ended with signal {-code}" if code < 0 else f"its process ended with code {code}"
        if self.killed[job] >= _TRIES:
            self.jobs.note_failure(job, f"{what}, {_TRIES} times")
        else:
            overview.say(f"{job}: {what}; it goes on from its checkpoint")
        self.start(number)

    def tell_failures(self, overview: "Overview") -> None:
        """Names the jobs that have failed since, each once."""
        for job in self.jobs.all:
            if job not in self.told and not self.jobs.done(job) and (reason := self.jobs.own_failure(job)):
                self.told.add(job)
                overview.say(f"{job} failed: {reason}; its log is {self.jobs.log(job)}, the others go on")

    def stop(self) -> None:
        """Asks all workers to save their checkpoints and leave."""
        self.stopping = True
        for process in self.alive.values():
            process.send_signal(signal.SIGTERM)

    def kill(self) -> None:
        """Ends those that are still there: after an error, or a second Ctrl-C."""
        for process in self.alive.values():
            process.kill()
            process.wait()


def cores() -> int:
    """That this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def threads(config: Config, count: int) -> int:
    """Of each of `count` processes: `runtime.threads`, or its share of the cores."""
    share = max(1, cores() // count)
    given = os.environ.get("OMP_NUM_THREADS", "")
    return config.runtime.threads or min(share, int(given) if given.isdecimal() and int(given) else share)


def environment(config: Config, number: int, count: int) -> dict[str, str]:
    """Of a worker: its threads are set before any library starts; with several GPUs each has one in turn."""
    each = str(threads(config, count))
    given = {**os.environ, **dict.fromkeys(THREADS, each), "PYTHONPATH": python_path()}
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    gpus = [str(i) for i in range(torch.cuda.device_count())] if visible is None else visible.split(",")
    return {**given, "CUDA_VISIBLE_DEVICES": gpus[number % len(gpus)]} if len(gpus) > 1 else given


def python_path() -> str:
    """With which another process finds this package, wherever it is started."""
    return os.pathsep.join([str(Path(__file__).parents[2]), *filter(None, [os.environ.get("PYTHONPATH")])])


class Overview:
    """How far all jobs are: a bar in a terminal, plain lines elsewhere, nothing if quiet."""

    def __init__(self, jobs: Jobs) -> None:
        self.jobs, self.log = jobs, jobs.config.log
        self.sizes = {job: jobs.images(job) for job in jobs.all}
        self.begun = self.last_line = time.monotonic()
        self.first = sum(size for job, size in self.sizes.items() if jobs.done(job))
        self.bar = tqdm(
            total=sum(self.sizes.values()),
            initial=self.first,
            desc=STAGE,
            file=sys.stderr,
            disable=self.log.quiet or not sys.stderr.isatty(),
            dynamic_ncols=True,
            leave=False,
            bar_format="{desc} |{bar}|",
        )

    def __enter__(self) -> "Overview":
        return self

    def __exit__(self, *error: object) -> None:
        self.bar.close()

    def say(self, line: str) -> None:
        """Writes a line above the bar, also if quiet: only failures are said."""
        if self.bar.disable:
            tell(f"{STAGE}: {line}", Log())
        else:
            self.bar.write(f"{STAGE}: {line}", file=sys.stderr)

    def show(self, doing: list[Job]) -> None:
        """Shows what is under way; outside a terminal every `log.every_seconds`, first at once."""
        now = time.monotonic()
        due = self.last_line == self.begun or now - self.last_line >= self.log.every_seconds
        if (self.bar.disable and not due) or not doing:
            return
        self.last_line = now
        shares = {job: self._share(job) for job in doing}
        ended = sum(size for job, size in self.sizes.items() if self.jobs.done(job))
        ended += sum(int(share * self.sizes[job]) for job, share in shares.items() if not self.jobs.done(job))
        new, left = ended - self.first, sum(self.sizes.values()) - ended
        seconds = (now - self.begun) / new * left if new > 0 else math.nan
        remaining = "time left not known yet" if math.isnan(seconds) else f"{duration(seconds)} left"
        done = f"{sum(map(self.jobs.done, self.jobs.all))}/{len(self.jobs.all)} done"
        running = ", ".join(f"{job} {100 * share:.0f} %" for job, share in islice(shares.items(), _SHOWN))
        running += f" and {len(doing) - _SHOWN} more" if len(doing) > _SHOWN else ""
        if self.bar.disable:
            tell(f"{STAGE}: {done}, {remaining}; {running}", self.log)
        else:
            self.bar.n = ended
            self.bar.set_description_str(f"{STAGE}: {done}, {remaining}; {running}")

    def _share(self, job: Job) -> float:
        """How much of its training is done: the last "120/300" of its log."""
        with suppress(OSError, ZeroDivisionError), self.jobs.log(job).open("rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - 2000))
            found = re.findall(rb": (?:\w+ )?([\d,]+)/([\d,]+)[,:]", file.read())
            if found:
                part, whole = (int(number.replace(b",", b"")) for number in found[-1])
                return min(1.0, part / whole)
        return 0.0
