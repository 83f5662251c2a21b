"""A person's folder, and the page's state on it, without a browser."""

import pytest
from made_classifiers import embedder
from own_folders import lay_out

from mtl.config import Log
from mtl.studio.session import Session


@pytest.fixture(scope="session")
def network():
    return embedder()


@pytest.fixture
def things(image_root, tmp_path):
    """`things/<class>/*` of three pictures each; `new/*` beside it."""
    lay_out(image_root, tmp_path, shot=4)
    return tmp_path / "things"


@pytest.fixture
def opened(network, things):
    """Opens the page's state, as often as a test wants to begin again."""
    state, sessions = things / ".studio", []

    def begin(**given):
        while sessions:
            sessions.pop().close()
        state.mkdir(exist_ok=True)
        used, folder = given.pop("network", network), given.pop("folder", things)
        sessions.append(Session(used, state, folder, log=Log(quiet=True), **given))
        return sessions[0]

    yield begin
    while sessions:
        sessions.pop().close()


@pytest.fixture
def drop(tmp_path):
    """Drops a file into a session, as an upload does; returns its id."""

    def dropped(session, path, to=None, name=None, batch=""):
        part = session.pictures / "one.part"
        part.write_bytes(path.read_bytes())
        return session.add(part, name or path.name, to, batch)

    return dropped
