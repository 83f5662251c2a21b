import pytest


@pytest.fixture
def solved(solved_tasks):
    return solved_tasks
