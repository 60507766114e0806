from __future__ import annotations

import pytest

from lightning_energy.curves.resolution import aliasing_risk, resolution


@pytest.mark.parametrize(
    ("duration_s", "label"), [(0.099, "unresolved"), (0.1, "coarse"), (0.99, "coarse"), (1.0, "resolved")]
)
def test_resolution_by_number_of_intervals(duration_s, label):
    assert resolution(duration_s, 0.1) == label
    assert resolution(duration_s, None) is None


@pytest.mark.parametrize(
    ("step_s", "risk"), [(0.1, True), (0.056, False), (0.0505, True), (0.2, True), (0.131, False), (0.067, True)]
)
def test_near_commensurate_steps_on_a_part_time_sensor(step_s, risk):
    assert aliasing_risk(step_s, 0.1, 0.25) == risk
    assert not aliasing_risk(step_s, 0.1, 1.0)
    assert not aliasing_risk(step_s, 0.1, None)
    assert not aliasing_risk(step_s, None, 0.25)
