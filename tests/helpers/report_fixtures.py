"""Reports for the tests of this folder, and a browser."""

import shutil
from collections.abc import Iterator

import pytest
from made_up import NAMES, Maker

from mtl.report.contents import ClassChange, Comparison, PhaseReport, Report, RunDifference, RunReport


@pytest.fixture(scope="session")
def full_report() -> Report:
    """Two runs and their comparison; nothing is missing."""
    make = Maker(0)
    first, second = "boosted <b>pairs</b>", "uniform & even"
    return Report(
        title="Hard tasks of <two> runs",
        runs=[make.run(first, "first"), make.run(second, "second")],
        comparison=Comparison(
            first=first,
            differences=[
                RunDifference("5-way 1-shot", second, 0.6123, -0.0213, 0.0042, None),
                RunDifference("20-way 1-shot", second, 0.4321, 0.0017, 0.0091, "another seed"),
                RunDifference("5-way 5-shot", second, 0.7777, 0.0123, 0.02, "other images"),
            ],
            changes=[
                ClassChange("5-way 1-shot", second, name, make.share(), make.share(), i % 2 == 0)
                for i, name in enumerate(NAMES[:30])
            ],
            drawings=[make.drawing("compared", "Both runs over each other.")],
            notes=["The 20-way tasks of the two runs are not the same."],
        ),
        notes=["One ledger was still being written."],
    )


@pytest.fixture(scope="session")
def bare_phase() -> PhaseReport:
    """A phase that was begun, and no more."""
    return PhaseReport("meta-train", "train", 0, [], [], 0, [], [], 0, None, None, None, None, None)


@pytest.fixture(scope="session")
def bare_run(bare_phase: PhaseReport) -> RunReport:
    """A run that was stopped before there was anything to tell."""
    return RunReport("bare", "Nothing was run.", [], [], None, [], [bare_phase], None, "", [], [])


@pytest.fixture(scope="session")
def chromium() -> Iterator[object]:
    """The system's Chromium, driven by Playwright, which brings no browser of its own."""
    program = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if program is None:
        pytest.skip("no Chromium on this machine")
    playwright = pytest.importorskip("playwright.sync_api")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()
