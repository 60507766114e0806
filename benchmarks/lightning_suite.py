"""Lightning's own test suite, with an EnergyCallback in every Trainer: does a test change its outcome?

    git clone --branch 2.6.6 --depth 1 https://github.com/Lightning-AI/pytorch-lightning
    python -m pip install -r pytorch-lightning/requirements/pytorch/test.txt
    python benchmarks/lightning_suite.py pytorch-lightning -- callbacks trainer/logging_ -k "not ddp"

Lightning's packages do not contain its tests: a checkout of the version that is installed is needed. The tests run
twice, without and with us. The callback is added as any user can add it, by an entry point of Lightning's group
``lightning.pytorch.callbacks_factory``, which reaches every Trainer of every process. Tests that ended differently are
run again, both ways, so that a test that fails now and then does not count. The remaining ones are printed with their
reasons; the exit status is 1 when the reason of one does not name us. A test whose reason names us counts callbacks, or
asserts on the exact list of logged values: it is marked ``expected``.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parent.parent
POWER_W = 200.0
OURS = ("energy/", "EnergyCallback", "energy_callback", "lightning_energy", "lightning-energy")
GOOD = ("passed", "skipped")
PACKAGE = "lightning_suite-0.dist-info"


def callbacks() -> list:
    """The callbacks that the entry point gives to every Trainer."""
    from lightning_energy import EnergyCallback, ReplayMeter

    return [EnergyCallback(meters=ReplayMeter(POWER_W), print_report=False)]


# ------------------------------------------------------------------- a plugin of pytest: notes outcomes as they come


def pytest_addoption(parser) -> None:
    parser.addoption("--outcomes", help="file for one line of JSON per test")


class Outcomes:
    """Writes each outcome at once, so that a crash hides none."""

    def __init__(self, path: str) -> None:
        self.path = Path(path)

    def pytest_runtest_logreport(self, report) -> None:
        if report.when == "call" or report.outcome != "passed":
            row = {"test": report.nodeid, "outcome": report.outcome, "why": report.longreprtext[-6000:]}
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(row) + "\n")


def pytest_configure(config) -> None:
    if config.getoption("--outcomes"):
        config.pluginmanager.register(Outcomes(config.getoption("--outcomes")))


# ------------------------------------------------------------------- both runs, and their differences


def run(tests: Path, pytest_arguments: list[str], *, with_us: bool) -> dict[str, tuple[str, str]]:
    """Outcome and reason by test; a test that has several (its set-up, itself, its end) has the worst."""
    with tempfile.TemporaryDirectory() as folder:
        outcomes, site = Path(folder, "outcomes.jsonl"), Path(folder, "site")
        paths = [str(ROOT), str(Path(__file__).parent)]
        if with_us:
            info = site / PACKAGE
            info.mkdir(parents=True)
            (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lightning-suite\nVersion: 0\n")
            group = "[lightning.pytorch.callbacks_factory]\nenergy = lightning_suite:callbacks\n"
            (info / "entry_points.txt").write_text(group)
            paths.append(str(site))
        where = Path(folder, "here")  # tests write into the working directory
        where.mkdir()
        command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-p", "lightning_suite"]
        command += [f"--rootdir={tests.parent.parent}", f"--config-file={tests.parent.parent / 'pyproject.toml'}"]
        command += [f"--outcomes={outcomes}", *(pytest_arguments or [str(tests)])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join([*paths, os.environ.get("PYTHONPATH", "")])}
        done = subprocess.run(command, cwd=where, env=environment, check=False)
        if not outcomes.exists():
            raise SystemExit(f"pytest ran no test (status {done.returncode}): see its output above")
        found: dict[str, tuple[str, str]] = {}
        for line in outcomes.read_text(encoding="utf-8").splitlines():
            row = json.loads(line)
            before = found.get(row["test"])
            if before is None or before[0] in GOOD:
                found[row["test"]] = row["outcome"], row["why"]
        return found


def differing(without: dict, with_us: dict) -> list[str]:
    """Tests that ended otherwise with us, or did not end at all."""
    ran = [*without, *(t for t in with_us if t not in without)]
    return [t for t in ran if without.get(t, ("not run",))[0] != with_us.get(t, ("not run",))[0]]


def reason(why: str) -> str:
    """The lines of a traceback that say what was wrong."""
    lines = [line[1:].strip() for line in why.splitlines() if line.startswith("E ")]
    return " / ".join(lines[:4])[:300] or why.strip()[-300:]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("checkout", type=Path, help="a checkout of Lightning, of the version that is installed")
    parser.add_argument("pytest_arguments", nargs="*", help="after --: for pytest, such as files or -k")
    arguments = parser.parse_args()
    tests = (arguments.checkout / "tests" / "tests_pytorch").resolve()
    if not tests.is_dir():
        parser.error(f"{tests} is not there: give a checkout of Lightning, not a package of it")
    chosen = [str(tests / a) if (tests / a.partition("::")[0]).exists() else a for a in arguments.pytest_arguments]
    if not any(Path(a.partition("::")[0]).exists() for a in chosen):
        chosen.append(str(tests))
    without, with_us = run(tests, chosen, with_us=False), run(tests, chosen, with_us=True)
    suspects = differing(without, with_us)
    if suspects:  # once more, alone
        again = [str(tests.parent.parent / t) for t in suspects]
        without |= run(tests, again, with_us=False)
        with_us |= run(tests, again, with_us=True)
    changed = differing(without, with_us)
    failed_anyway = sum(o not in GOOD for o, _ in without.values())
    print(f"\n{len(without)} tests without us, {len(with_us)} with us; {failed_anyway} fail without us.")
    print(f"{len(suspects)} ended otherwise, {len(changed)} of them again when they were run anew:")
    unexpected = 0
    for test in changed:
        (before, _), (after, why) = without.get(test, ("not run", "")), with_us.get(test, ("not run", ""))
        expected = after not in GOOD and any(name in reason(why) for name in OURS)
        unexpected += not expected
        print(f"  {'expected' if expected else 'LOOK AT'}  {before} -> {after}  {test}\n            {reason(why)}")
    return 1 if unexpected else 0


if __name__ == "__main__":
    sys.exit(main())
