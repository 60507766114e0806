from __future__ import annotations

import numpy as np
import pytest

from lightning_energy.ledger.sharing.parts import Parts
from lightning_energy.ledger.sharing.prior import (
    IN_SHORT,
    LEAST_VARIES,
    NO_PARTS,
    PRIOR,
    WITHIN,
    Prior,
    believed,
)

MEAN_W = 200.0
CUT = Prior.of((Parts((0.25, 0.75), (1, 3, 4)),))._replace(varies=0.1)


def covariance(prior: Prior, width: int) -> np.ndarray:
    design, spread_w = prior.axes(np.arange(width), width, MEAN_W)
    return (design * spread_w**2) @ design.T


def test_powers_of_classes_are_independent():
    assert covariance(NO_PARTS, 3) == pytest.approx(np.eye(3) * (PRIOR * MEAN_W) ** 2)
    assert not NO_PARTS.has_parts


def test_parts_of_a_phase_are_alike_and_the_rest_is_not():
    """Each has the phase's deviation, that of a slope, and one of its own; classes that are seen later are single."""
    found, common, own = covariance(CUT, 6), (PRIOR * MEAN_W) ** 2, (0.1 * MEAN_W) ** 2
    assert np.diag(found) == pytest.approx(
        [common, *[common + own * (1 + 3 * m**2) if m is not None else common for m in (-0.75, None, 0.0, 0.75, None)]]
    )
    assert found[1, 4] == pytest.approx(common - 3 * 0.75**2 * own)
    assert found[1, 3] == pytest.approx(common)
    assert found[0, 1] == found[2, 3] == found[5, 1] == 0.0


def test_what_is_known_of_a_figure_before_anything_is_measured():
    """A phase as a whole is as unknown as one that is not cut; the difference of two parts is small."""
    whole, difference = np.array([[0.0, 0.2, 0.0, 0.6, 0.2], [0.0, 1.0, 0.0, 0.0, -1.0]])
    assert CUT.variances_j2(difference, MEAN_W) == pytest.approx((0.1 * MEAN_W) ** 2 * (2 + 3 * 1.5**2))
    assert CUT.variances_j2(whole, MEAN_W) == pytest.approx((PRIOR * MEAN_W) ** 2, rel=0.01)


def test_the_precision_is_the_inverse_of_the_covariance_of_what_was_seen():
    seen = np.array([0, 1, 4])
    inverse = CUT.precision(seen, 5, MEAN_W)
    assert inverse @ covariance(CUT, 5)[np.ix_(seen, seen)] == pytest.approx(np.eye(3), abs=1e-9)


def test_every_variation_is_tried():
    assert len({prior.varies for prior in CUT.tried}) == len(CUT.tried) > 1


def test_the_prior_that_is_believed_has_the_mean_square_of_all():
    first, *_, last = CUT.tried
    assert believed([first, last], [0.0, -50.0]).varies == LEAST_VARIES
    assert believed([first, last], [-50.0, 0.0]).varies == pytest.approx(last.varies)
    half = believed([first, last], [1.0, 1.0]).varies
    assert half**2 == pytest.approx((first.varies**2 + last.varies**2) / 2)


def test_what_varies_within_parts_is_never_told():
    d = np.array([0.0, 3.0, 0.0, 4.0, 0.0])
    assert CUT.within_j2(d, MEAN_W) == pytest.approx((WITHIN * 0.1 * MEAN_W * 5.0) ** 2)
    assert NO_PARTS.within_j2(d, MEAN_W) == 0.0


def test_parts_are_added_up_to_phases():
    assert CUT.to_phases(6).T @ np.arange(6.0) == pytest.approx([0.0, 1.0 + 3.0 + 4.0, 2.0, 5.0])
    assert NO_PARTS.to_phases(3) == pytest.approx(np.eye(3))


def test_power_within_phases_that_are_not_cut_may_vary_more():
    """Whether they are too short, or came after phases were cut; what is no phase is as parts are."""
    prior = Prior.of((Parts((0.5,), (1, 3)), Parts((), (2,))), divided=[1, 2, 5])._replace(varies=0.1)
    for of_class, relative in ((1, WITHIN * 0.1), (3, WITHIN * 0.1), (2, IN_SHORT), (5, IN_SHORT), (0, WITHIN * 0.1)):
        d = np.eye(7)[of_class]
        assert prior.within_j2(d, MEAN_W) == pytest.approx((relative * MEAN_W) ** 2)
    assert prior.whole_of(7).tolist() == [0, 1, 2, 1, 4, 5, 6]
    assert not Prior.of((), divided=[1, 2]).has_parts
