"""How every test runs."""

from __future__ import annotations

import os
import shutil
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import settings

from tests.warm import Warm

HERE = Path(__file__).parent

# Before torch is loaded, and for the processes that tests start: small models gain nothing by threads, and threads that
# wait for each other in a loop take the time of those that work, many times over on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

settings.register_profile("any machine", deadline=None)  # an example that took long was stopped by another program
settings.load_profile("any machine")


@pytest.fixture(scope="session")
def warm():
    """Runs scripts in processes of their own that have torch and Lightning already."""
    with closing(Warm()) as forks:
        yield forks


BROWSER = ("chromium", "chromedriver")
FLAGS = (
    "--headless=new --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync"
)


@pytest.fixture(scope="module")  # not longer: some tests look at the processes that there are
def chromium(tmp_path_factory):
    """A headless browser, for the pages."""
    absent = [name for name in BROWSER if not shutil.which(name)]
    if absent:
        reason = f"{' and '.join(absent)} not found: the page is tested in it. apt-get install chromium chromium-driver"
        (pytest.fail if os.environ.get("CI") else pytest.skip)(reason)
    from selenium.webdriver import Chrome, ChromeOptions, ChromeService

    options = ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in [*FLAGS.split(), f"--user-data-dir={tmp_path_factory.mktemp('profile')}"]:
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
    driver = Chrome(options=options, service=ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


# Where coverage looks at slow tests, too. Those elsewhere go millions of times through lines that the fast tests reach
# as well, and coverage's tracer would take more time than they do.
TRACED = {"training", "test_monitor.py"}


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a browser is slow; coverage looks away from the slow tests of some places."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        if item.get_closest_marker("slow") and not TRACED & {*item.path.relative_to(HERE).parts}:
            item.add_marker(pytest.mark.no_cover)


@pytest.hookimpl(wrapper=True, trylast=True)  # within pytest-cov's own
def pytest_runtest_call(item: pytest.Item):
    """Let coverage look away in processes of pytest-xdist, too, where pytest-cov traces twice and pauses once."""
    if not item.get_closest_marker("no_cover"):
        return (yield)
    traces = sys.gettrace(), threading.gettrace()
    sys.settrace(None)
    threading.settrace(None)
    try:
        return (yield)
    finally:
        sys.settrace(traces[0])
        threading.settrace(traces[1])
