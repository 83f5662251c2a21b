"""A person's folders, and commands that must be refused without a trace."""

import pytest
from own_folders import contents, lay_out

from mtl.errors import UserError


@pytest.fixture
def home(image_root, tmp_path, monkeypatch):
    """The working folder, with support pictures in `things` and others in `new`."""
    lay_out(image_root, tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture
def refused(home):
    """The sentence of a call that must end as a mistake of the user's and change no file."""

    def call(function, *given, **more):
        before = contents(home)
        with pytest.raises(UserError) as caught:
            function(*given, **more)
        assert contents(home) == before
        return str(caught.value)

    return call
