"""A signal handler that saves a checkpoint, at every line of ours: it sees the last consistent total, counted once."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

import lightning_energy
from lightning_energy import EnergyMonitor, MeterInfo, ReplayMeter, load_record
from tests.modules import Classifier, Working, energy_callback, loader, make_trainer

PACKAGE = str(Path(lightning_energy.__file__).parent)
BOOKS = tuple(f"{PACKAGE}/{room}/" for room in ("ledger", "training"))
SPENT_J = 3000.0  # within 0.1 s; from then on 1 W, so that nothing else counts, however long the test takes
SCRIPT = [(0.2, 1.0), (0.1, SPENT_J / 0.1), (3600.0, 1.0)]
INFO = MeterInfo("replay-0", "replayed device", "measured", "gpu", power_max_w=40_000.0, update_period_s=0.001)
HOOKS = (  # the first five go through the most lines
    "on_train_batch_end",
    "on_validation_epoch_end",
    "on_train_epoch_end",
    "teardown",
    "on_exception",
    "on_train_epoch_start",
    "on_validation_start",
    "on_validation_end",
    "on_train_end",
    "state_dict",
)


class Interrupts:
    """Calls a handler once at each line of the package that is reached in a function, as a signal might.

    Args:
        handler: given the line; false where it is too early to look.
        elsewhere: lines that change no book, at which a handler was called before; not called again.
        fifth: calls at a fifth of the lines only, another one for each of five numbers: hooks share most of them.
    """

    def __init__(self, handler, elsewhere: set[tuple[str, int]], fifth: int | None = None) -> None:
        self._handler, self._fifth = handler, fifth
        self._elsewhere = elsewhere
        self.seen: set[tuple[str, int]] = set()

    def _trace(self, frame, event, _arg):
        code = frame.f_code
        if not code.co_filename.startswith(PACKAGE):
            return None
        where = (code.co_filename, frame.f_lineno)
        if (
            event in {"line", "call"}
            and (self._fifth is None or frame.f_lineno % 5 == self._fifth)
            and where not in self.seen
            and where not in self._elsewhere
            and self._handler(f"{Path(code.co_filename).name}:{frame.f_lineno} {code.co_name}")
        ):
            self.seen.add(where)
            if not code.co_filename.startswith(BOOKS) or "sharing" in code.co_filename:
                self._elsewhere.add(where)
        return self._trace

    def around(self, function):
        def call(*args, **kwargs):
            old = sys.gettrace()
            sys.settrace(self._trace)
            try:
                return function(*args, **kwargs)
            finally:
                sys.settrace(old)

        return call


@pytest.fixture(scope="session")
def elsewhere() -> set[tuple[str, int]]:
    """Lines that figure, print and write, at which one hook's handler was called for all of them."""
    return set()


class Long(Classifier):
    """Its first step lasts until the energy is spent, and known."""

    def __init__(self, energy, *, fails: bool = False) -> None:
        super().__init__()
        self.energy = energy
        self.fails = fails
        self.has_spent = False

    def training_step(self, batch, batch_idx):
        if not self.has_spent:
            wait_until_spent(self.energy._run.books.session)
            self.has_spent = True
        if self.fails and self.trainer.current_epoch == 1:
            raise OSError("a broken disk")
        return super().training_step(batch, batch_idx)


def spending():
    return ReplayMeter(SCRIPT, counter_period_s=0, info=INFO)


def wait_until_spent(session) -> None:
    """Wait until the energy is spent, known and booked, so that the power that is assumed to go on is the low one.

    Amidst our own work, a handler sees what was booked last: seconds ago, where nobody asked since.
    """
    curve = session.channels[0].curve
    while curve.end_j < SPENT_J / 2 or (curve.last_power_w() or 2.0) > 1.5:
        session._sampler.wait_until_known(time.monotonic_ns(), 60.0)
    session.ledger.settle()


def is_spent_once(energy_j, u_j) -> bool:
    """True for the energy that was spent, as far as it can be known so long after the last reading."""
    if energy_j is None:
        return False
    return energy_j + 3.0 * u_j > 0.98 * SPENT_J and energy_j - 3.0 * u_j < 1.1 * SPENT_J


def wrong(state) -> str:
    """What is wrong in a state that a handler saw: it is of one session, in which the energy is spent by now."""
    total_j, sessions_j = state["total"]["energy_j"], [row["energy_j"] for row in state["sessions"]]
    if not is_spent_once(total_j, state["total"]["u_j"]):
        return f"total {total_j} J, u {state['total']['u_j']} J"
    if len(sessions_j) != 1 or sessions_j[0] != pytest.approx(total_j):
        return f"sessions {sessions_j} J"
    return ""


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:EnergyCallback. replayed device .replay-0.. it is not read")  # 1 W, for a while
@pytest.mark.parametrize("hook", HOOKS)
def test_a_handler_sees_each_joule_once(tmp_path, elsewhere, hook):
    energy = energy_callback(meters=spending(), record=tmp_path / "energy.json")
    module, problems = Long(energy, fails=hook == "on_exception"), {}
    trainer = make_trainer(tmp_path, max_epochs=2, callbacks=[energy], log_every_n_steps=1)

    def handler(where) -> bool:
        if not module.has_spent:
            return False
        problem = "an error"
        try:
            problem = wrong(energy.state_dict())
        finally:
            if problem:
                problems[where] = problem
        return True

    interrupts = Interrupts(handler, elsewhere, fifth=HOOKS.index(hook) % 5)
    setattr(energy, hook, interrupts.around(getattr(energy, hook)))
    if module.fails:
        with pytest.raises(OSError, match="disk"):
            trainer.fit(module, loader(8), loader(4))
    else:
        trainer.fit(module, loader(8), loader(4))
    if hook == "state_dict":
        trainer.save_checkpoint(tmp_path / "after.ckpt")
    assert problems == {}
    assert interrupts.seen
    assert wrong(energy.state_dict()) == ""
    assert energy.report.total.energy_j == energy.state_dict()["total"]["energy_j"]


@pytest.mark.slow
def test_a_handler_in_a_loop_of_ones_own(tmp_path, elsewhere):
    monitor, problems = EnergyMonitor(meters=spending(), record=tmp_path / "energy.json"), {}
    is_spent = False

    def handler(where) -> bool:
        if is_spent:
            energy = monitor.energy() if monitor._report is None else monitor.report.session
            if not is_spent_once(energy.energy_j, energy.u_j):
                problems[where] = energy
        return is_spent

    def loop() -> None:
        nonlocal is_spent
        with monitor:
            for epoch in range(2):
                with monitor.stage("train", epoch):
                    wait_until_spent(monitor._session)
                    is_spent = True
                    with monitor.step(samples=4):
                        pass
                monitor.log_metric("val_acc", 0.9)
            monitor.energy(stage="train")

    interrupts = Interrupts(handler, elsewhere)
    interrupts.around(loop)()
    assert problems == {}
    assert interrupts.seen
    assert monitor.report.session.energy_j == pytest.approx(SPENT_J, rel=0.1)


class Stop(Exception):  # noqa: N818 - what a user's handler raises
    """The job's time is up."""


def raising(number: int):
    """A handler that raises at one of the lines that :class:`Interrupts` comes to, after all of them were looked at."""
    lines: list[str] = []

    def handler(where) -> bool:
        lines.append(where)
        if len(lines) - 1 == number:
            raise Stop(where)
        return True

    return handler, lines


PARTS = 5  # lines of each hook that are tried: the first, the last, and some between


def interrupted_fit(tmp_path, hook, number):
    meter = ReplayMeter(100.0, counter_period_s=0)
    energy = energy_callback(meters=meter, record=tmp_path / f"{number}.json", score=None)
    handler, lines = raising(number)
    setattr(energy, hook, Interrupts(handler, set()).around(getattr(energy, hook)))
    trainer = make_trainer(tmp_path, max_epochs=1, callbacks=[energy], log_every_n_steps=1)
    try:
        trainer.fit(Working(), loader(8), loader(4))
    except Stop as error:
        return energy, lines, str(error)
    return energy, lines, ""


@pytest.mark.slow
@pytest.mark.parametrize("hook", ["on_validation_end", "on_train_epoch_end", "on_train_batch_end", "teardown"])
def test_a_handler_that_raises_ends_the_training_and_what_it_spent_is_counted_once(tmp_path, hook):
    _, lines, _ = interrupted_fit(tmp_path, hook, -1)
    for number in sorted({round(part * (len(lines) - 1) / (PARTS - 1)) for part in range(PARTS)}):
        energy, seen, where = interrupted_fit(tmp_path, hook, number)
        if len(seen) <= number:  # another thread had done that work this time
            continue
        assert where, f"line {number} of {hook}: the exception did not come through"
        report = energy.report
        assert report is not None, where
        session = report.session
        assert session.energy_j == pytest.approx(100.0 * session.duration_s, rel=0.05, abs=5 * session.u_j), where
        assert report.total == session, where
        assert report.sessions == 1, where
        state = energy.state_dict()
        assert state["total"]["energy_j"] == session.energy_j, where
        assert [row["energy_j"] for row in state["sessions"]] == [session.energy_j], where
        record = load_record(tmp_path / f"{number}.json")
        assert record.outcome in {"interrupted", "completed"}, where
        assert record.session.energy_j == pytest.approx(session.energy_j), where


def test_a_handler_that_raises_in_a_loop_of_ones_own_leaves_a_report(tmp_path):
    monitor = EnergyMonitor(meters=ReplayMeter(100.0, counter_period_s=0), record=tmp_path / "energy.json")

    def conclude(*arguments) -> None:
        interrupts.around(monitor._conclude_)(*arguments)

    handler, _ = raising(40)
    interrupts = Interrupts(handler, set())
    monitor._conclude_, monitor._conclude = monitor._conclude, conclude

    def loop() -> None:
        with monitor, monitor.stage("train", 0):
            for _ in range(3):
                with monitor.step(samples=4):
                    time.sleep(0.01)

    with pytest.raises(Stop):
        loop()
    session = monitor.report.session
    assert session.energy_j == pytest.approx(100.0 * session.duration_s, rel=0.05, abs=5 * session.u_j)
    assert monitor.report.outcome == "interrupted"
    assert monitor.report.total == session
    assert load_record(tmp_path / "energy.json").session.energy_j == pytest.approx(session.energy_j)
