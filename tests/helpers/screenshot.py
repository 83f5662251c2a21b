"""The picture of a report that the README shows.

    python tests/helpers/screenshot.py checkpoints/quickstart/report.html docs/report.png

Takes the first screen of an evaluation's hardest tasks, in the system's Chromium.
"""

import shutil
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1180, 900


def screenshot(page: Path, picture: Path, phase: int = 2) -> None:
    """Opens a report from disk and takes the hardest tasks of one of its phases."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--hide-scrollbars"]
        )
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, color_scheme="light")
        tab.goto(f"{page.resolve().as_uri()}#r1-p{phase}-tasks")
        tab.wait_for_timeout(500)  # scrolling has come to rest
        tab.screenshot(path=picture)
        browser.close()


if __name__ == "__main__":
    screenshot(Path(sys.argv[1]), Path(sys.argv[2]))
