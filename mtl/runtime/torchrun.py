"""How the processes that torchrun started find each other, also after it had to start them again."""

import json
import os
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import torch.distributed as dist
from torch.distributed.rendezvous import rendezvous

from mtl.errors import RunStopped, UserError
from mtl.runtime.process import processes
from mtl.runtime.world import ALONE, Left, World, leave

_PATIENCE = timedelta(days=7)  # of those that wait while a set is downloaded or decoded
_TIMEOUT = timedelta(minutes=10)  # of a sum, after which a silent process counts as lost
_LOOK = 0.05  # seconds between two looks into the store


@contextmanager
def joined_world(device: str) -> Iterator[World]:
    """The processes that torchrun started, connected; ALONE where it started none.

    Args:
        device: type of the device that computes: NCCL connects GPUs, gloo everything else.
    """
    if processes() == 1:
        yield ALONE
        return
    store, rank, size = next(iter(rendezvous("env://", timeout=_TIMEOUT)))
    name, before = _meet(store, rank, size)
    if before["mistake"]:  # another attempt would make it again
        raise Left(2)
    backend = "cpu:gloo,cuda:nccl" if device == "cuda" else "gloo"
    own = dist.PrefixStore(name, store)  # type: ignore[attr-defined]
    dist.init_process_group(backend, store=own, rank=rank, world_size=size, timeout=_TIMEOUT)
    try:
        patient = dist.new_group(backend="gloo", timeout=_PATIENCE)
        with _told_once(store, name):
            yield World(rank, size, int(os.environ["LOCAL_RANK"]), patient, store, before["begun"])
    finally:
        dist.destroy_process_group()


def _meet(store: Any, rank: int, size: int) -> tuple[str, dict[str, bool]]:
    """A name for this attempt that all of its processes have, and what earlier ones came to.

    The store outlives attempts, and torchrun's count of them differs between machines. So the first process
    chooses a name, the others answer under it with a token, and go on when the first one shows theirs: one
    that has read the name of an earlier attempt does not find its own among the tokens of that.
    """
    token = uuid.uuid4().hex
    if rank == 0:
        name = uuid.uuid4().hex
        store.set("attempt", name)
        tokens = [store.get(f"{name} {other}").decode() for other in range(1, size)]
        before = {key: store.check([key]) for key in ("begun", "mistake")}
        store.set(f"{name} go", json.dumps({"tokens": tokens, **before}))
        return name, before
    end, answered = time.monotonic() + _TIMEOUT.total_seconds(), ""
    while time.monotonic() < end:
        name = store.get("attempt").decode()
        if name != answered:
            store.set(f"{name} {rank}", token)
            answered = name
        if store.check([f"{name} go"]):
            found = json.loads(store.get(f"{name} go"))
            if token in found["tokens"]:
                return name, found
        time.sleep(_LOOK)
    raise RuntimeError("gloo: the other processes of this training did not appear")


@contextmanager
def _told_once(store: Any, name: str) -> Iterator[None]:
    """Of a failure that several processes see, the first to come here tells; the others leave."""
    try:
        yield
    except (KeyboardInterrupt, Left):
        raise
    except BaseException as error:
        if isinstance(error, UserError | RunStopped):
            store.set("mistake", "")
        if store.add(f"{name} told", 1) > 1:
            leave()
        raise
