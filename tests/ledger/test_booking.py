"""When the delay of a counter counts as known, and intervals are booked by it for good."""

from __future__ import annotations

import zlib
from dataclasses import replace

import numpy as np
import pytest

from lightning_energy.ledger.how_shared import how_shared
from tests.sim.virtual_run import Sensor, Work, play
from tests.sim.watched import by_channels


@pytest.mark.parametrize("number", range(2))
def test_the_first_change_of_load_does_not_decide_how_a_counter_smooths(number):
    """Two seconds of a counter that moves every 20 ms have one change of load: that looks like smoothing by chance."""
    seed = zlib.crc32(f"20 ms: 200 ms steps 1 {number}".encode())
    run = play(seed, replace(Work(), step_s=0.2), Sensor(update_s=0.02), settle_s=1.0, watch=by_channels())
    shared = how_shared(run.ledger.totals().fitted(0), run.ledger.classes.names, 0)
    assert (shared.delay_s, shared.smoothing_s) == pytest.approx((0.0, 0.0), abs=0.002)
    split = np.array(run.kind) == "step/gap"
    assert (np.abs(run.found_j - run.true_j) <= 3 * run.u_j)[split].all()
