"""When the delay of a counter counts as known, and intervals are booked by it for good."""

from __future__ import annotations

import zlib

import numpy as np
import pytest

from lightning_energy.ledger.how_shared import how_shared
from tests.sim.virtual_run import Sensor, Work, play
from tests.sim.watched import by_channels


@pytest.mark.parametrize(
    ("run", "work", "lag_s"),
    [
        ("20 ms: 200 ms steps 1 0", Work(step_s=0.2), 0.0),
        ("20 ms: 200 ms steps 1 1", Work(step_s=0.2), 0.0),
        ("20 ms: 200 ms late 2 1", Work(), 0.2),
    ],
)
def test_the_first_change_of_load_does_not_decide_how_a_counter_smooths(run, work, lag_s):
    """Two seconds of a counter that moves every 20 ms have one change of load: that looks like smoothing by chance."""
    seed = zlib.crc32(run.encode())
    found = play(seed, work, Sensor(update_s=0.02, lag_s=lag_s), settle_s=1.0, watch=by_channels())
    shared = how_shared(found.ledger.totals().fitted(0), found.ledger.classes.names, 0)
    assert (shared.delay_s, shared.smoothing_s) == pytest.approx((lag_s, 0.0), abs=0.002)
    split = np.array(found.kind) == "step/gap"
    assert (np.abs(found.found_j - found.true_j) <= 3 * found.u_j)[split].all()
