"""A person's folder, the page's state on it, and a run with a log of hard tasks, without a browser."""

import pytest
import torch
from made_classifiers import embedder
from own_folders import lay_out

from mtl.config import Log
from mtl.data.image_set import fingerprint
from mtl.episodes.episode import EpisodeBatch, Neighbourhoods, Outcome
from mtl.ledger.store import Ledger
from mtl.runtime.run_folder import RunFolder
from mtl.studio.session import Session
from mtl.training.run_data import load_run_data


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


@pytest.fixture
def run_with_log(tiny):
    """The folder of a run that has solved a task of three classes twice, and looked around each of them once.

    At its second visit, in the phase "meta-train", images of class 0 are taken for class 2. There is also a
    phase "evaluate val", without rounds.
    """
    config = tiny()
    folder = RunFolder.of(config)
    folder.write_config(config)
    splits = load_run_data(config).splits
    classes, right = torch.arange(3), torch.eye(3).repeat_interleave(2, 0)
    with Ledger.open(folder.ledger) as ledger:
        for split, phase in (("train", "meta-train"), ("val", "evaluate val")):
            images = getattr(splits, split)
            of_class = torch.stack([(images.labels == c).nonzero().flatten()[:3] for c in range(3)])[None]
            batch = EpisodeBatch(classes[None], of_class[..., :1], of_class[..., 1:], ("uniform",), (0,))
            ledger.register_classes(split, dict(enumerate(images.class_names)))
            ledger.register_images(split, fingerprint(images))
            for logits in (right, torch.cat([torch.eye(3)[[2, 2]], right[2:]])):
                ledger.append(phase, 0, 0, batch, Outcome.of(9 * logits[None], 3, 2), split)
        around, weights = torch.tensor([[1, 2], [0, 2], [0, 1]]), torch.tensor([2.0, 0.5, 0.5])
        found = Neighbourhoods(classes, torch.tensor([0.25, 0.5, 0.75]), weights, around)
        ledger.add_neighbourhoods("meta-train", "train", 0, found)
        ledger.commit("1")
    return folder.path
