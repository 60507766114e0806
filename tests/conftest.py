"""How every test runs."""

from __future__ import annotations

import gc
import os
import shutil
import sys
import threading
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import is_hypothesis_test, settings

from tests.warm import Warm

HERE = Path(__file__).parent

# Before torch is loaded, and for the processes that tests start: small models gain nothing by threads, and threads that
# wait for each other in a loop take the time of those that work, many times over on a busy machine.
os.environ.setdefault("OMP_NUM_THREADS", "1")

# No deadline: an example that took long was stopped by another program. A random search goes on from day to day, with
# other examples each time; `--hypothesis-profile thorough` is for whoever changes what it looks at.
settings.register_profile("any machine", deadline=None, max_examples=40)
settings.register_profile("thorough", deadline=None, max_examples=1000)
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


# Where coverage looks at slow tests, too, with their first parameters. Those elsewhere go millions of times through
# lines that the fast tests reach as well, and coverage's tracer would take more time than they do.
TRACED = {"training", "test_monitor.py"}
# Simulations and pictures: with other numbers they go through the same lines, so coverage looks at a test's first
# parameters alone.
SIMULATE = {"curves", "ledger", "test_labels.py"}
# These read files, and run nothing of the package.
READ = {"test_contributing.py", "test_layers.py", "test_prose.py", "test_repository.py"}


def is_new_to_coverage(item: pytest.Item) -> bool:
    """False for a test that takes long and shows coverage nothing, or nothing but by luck, as a random search does."""
    places = {*item.path.relative_to(HERE).parts} if item.path.is_relative_to(HERE) else set()
    if places & READ or (isinstance(item, pytest.Function) and is_hypothesis_test(item.obj)):
        return False
    if item.get_closest_marker("slow") and not places & TRACED:
        return False
    is_repeated = hasattr(item, "callspec") and any(item.callspec.indices.values())
    return not (is_repeated and (item.get_closest_marker("slow") or places & SIMULATE))


@pytest.hookimpl(tryfirst=True)  # before `-m` selects
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever needs a browser is slow; coverage looks away where nothing new is to be seen."""
    for item in items:
        if "chromium" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)
        if not is_new_to_coverage(item):
            item.add_marker(pytest.mark.no_cover)


def pytest_collection_finish() -> None:
    """Let no collection of garbage look again at what was imported: half a million objects, a quarter of a second."""
    gc.collect()
    gc.freeze()


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
