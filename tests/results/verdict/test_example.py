"""A training of examples/ with a slow DataLoader: the verdict names it, and promises what mending it truly saves."""

from __future__ import annotations

import pytest

from lightning_energy import explain
from tests.results.verdict.slow_loader import DELAY_S, on_board, run_example


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:The '.*_dataloader' does not have many workers")
@pytest.mark.filterwarnings("ignore:The number of training batches")
def test_a_slow_loader_is_named_and_its_saving_is_true(tmp_path):
    """The same training, part by part, with the delay of each batch and without it."""
    example = run_example(tmp_path, epochs=3)
    slow, mended = (on_board(example, delay_s) for delay_s in (DELAY_S, 0.0))
    waiting = explain(slow.record).savings[0]
    assert waiting.rule == "waiting"
    truly_saved_j = slow.true_j() - mended.true_j()
    assert abs(waiting.energy_j - truly_saved_j) < 2 * waiting.u_j < 0.25 * truly_saved_j
    assert "waiting" not in {s.rule for s in explain(mended.record).savings}
