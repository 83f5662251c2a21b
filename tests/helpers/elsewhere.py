"""What another process would do, done in another thread: locks do not tell the two apart."""

import threading
from contextlib import contextmanager


@contextmanager
def in_another_thread(make):
    """Holds the context manager that `make` gives in another thread, for as long as the block lasts."""
    entered, leave = threading.Event(), threading.Event()

    def hold():
        with make():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=hold)
    thread.start()
    try:
        assert entered.wait(60)
        yield
    finally:
        leave.set()
        thread.join(60)
