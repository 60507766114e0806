from __future__ import annotations

from lightning_energy.ledger import expected as expected_module
from lightning_energy.ledger.booking import no_pause
from lightning_energy.ledger.expected import LONGEST_NS, Expected


def test_a_booking_waits_until_totals_were_asked_for(monkeypatch):
    monkeypatch.setattr(expected_module, "LOOK_S", 0.0)
    now, done = [0], []
    expected = Expected(lambda: now[0])

    def pause() -> None:
        done.append("pause")
        if len(done) == 6:
            expected.end()

    expected.let_pass(lambda _pause: done.append("foresee"), pause)
    assert done == []  # none are expected
    expected.begin()
    expected.let_pass(lambda _pause: done.append("foresee"), no_pause)
    assert done == []  # nothing is waited for
    expected.let_pass(lambda _pause: done.append("foresee"), pause)
    assert done == ["foresee", "pause"] * 3
    assert not expected.is_new


def test_it_waits_for_a_while_only(monkeypatch):
    monkeypatch.setattr(expected_module, "LOOK_S", 0.0)
    now = [0]
    expected = Expected(lambda: now[0])
    expected.begin()

    def pause() -> None:
        now[0] += LONGEST_NS // 4

    expected.let_pass(lambda _pause: None, pause)
    assert now[0] == LONGEST_NS


def test_where_totals_are_always_expected_a_booking_waits_for_the_first(monkeypatch):
    """In short epochs those of the next one are expected before it looks again: it would never come."""
    monkeypatch.setattr(expected_module, "LOOK_S", 0.0)
    expected, paused = Expected(lambda: 0), []
    expected.begin()

    def pause() -> None:
        paused.append(1)
        assert len(paused) < 10
        expected.end()
        expected.begin()

    expected.let_pass(lambda _pause: None, pause)
    assert len(paused) == 1
    assert expected.is_new
