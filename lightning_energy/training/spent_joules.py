"""The joules that a rank has spent, from the last known values of its curves: reads no sensor."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from lightning_energy.ledger.session import Session
from lightning_energy.meters.base import BOARDS
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.find import check_meters, open_meters
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable

    from lightning_energy.curves.channel import Channel
    from lightning_energy.ledger.ranks import Ranks
    from lightning_energy.meters.find import Meters

__all__ = ["Spending", "SpentJoules", "open_session"]

FRESH_NS = 1_000_000_000  # age of the last known values from which on a helper process is asked for later ones


class Spending(NamedTuple):
    """The energy of a rank at one moment.

    Attributes:
        spent_j: joules in this session; a lower bound where ``unknown`` is not 0.
        power_w: the last known power of all its devices, which is supposed to go on.
        unknown: the number of devices whose energy is missing now.
        known_ns: the time up to which the energy of all its devices is known; ``None`` while the power of one is not.
    """

    spent_j: float
    power_w: float
    unknown: int
    known_ns: int | None = None


class SpentJoules:
    """The joules that a rank has spent in a session, at any moment.

    Behind the last update of a counter its last power is supposed to go on.

    Args:
        session: the session that measures.
        has_ended: asked for a session that measures no more, after a defect.

    Example:
        >>> import torch
        >>> from lightning_energy.meters import ReplayMeter, open_meters
        >>> session = Session(open_meters([ReplayMeter(100.0)], device=torch.device("cpu")))
        >>> session.mark(session.code(-1, "train", "gap"))
        >>> joules = SpentJoules.of_totals(session)
        >>> joules.now().unknown, joules.devices, joules.dead
        (0, 1, [])
        >>> session.close()
    """

    def __init__(self, session: Session, has_ended: Callable[[], bool] | None = None) -> None:
        self._channels: list[Channel] = session.channels
        self._session = session
        self._fetched_ns = [0, 0]  # when later values were fetched last: without waiting for them, and with it
        self._has_ended = has_ended
        self._curves_begin_j = 0.0
        self._last = Spending(0.0, 0.0, 0)

    @classmethod
    def of_totals(cls, session: Session, has_ended: Callable[[], bool] | None = None) -> SpentJoules:
        """Count what the accounts of the session hold, not what its curves do. Waits once for the first updates."""
        joules = cls(session, has_ended)
        session.totals()
        now_ns = monotonic_ns()
        before_j = session.ledger.totals(now_ns).energy().energy_j or 0.0
        joules._curves_begin_j = joules._of_curves(now_ns).spent_j - before_j
        joules._last = Spending(before_j, 0.0, 0)
        return joules

    def now(self) -> Spending:
        """The energy up to now."""
        if self._has_ended is not None and self._has_ended():
            self._last = Spending(self._last.spent_j, 0.0, max(1, len(self._channels)))
        else:
            self._last = self._of_curves(monotonic_ns())
        return self._last

    def now_and_soon(self) -> Spending:
        """The energy up to now; where it is not known for the last second, later values are there at the next call."""
        return self._now(self._session.ask, waits=False)

    def now_caught_up(self) -> Spending:
        """The energy up to now; where it is not known for the last second, a little is waited for what a helper read.

        For the ends of stretches that are judged by what is known of them; once a second at most.
        """
        return self._now(self._session.catch_up, waits=True)

    def _now(self, fetch: Callable[[], None], *, waits: bool) -> Spending:
        """The energy up to now; later values are fetched where they are old, but once a second at most."""
        now_ns, found = monotonic_ns(), self.now()
        if now_ns - max(found.known_ns or 0, self._fetched_ns[waits]) <= FRESH_NS:
            return found
        self._fetched_ns[waits] = now_ns
        fetch()
        return self.now() if waits else found

    @property
    def devices(self) -> int:
        """The number of devices that this rank measures."""
        return len(self._channels)

    @property
    def boards(self) -> int:
        """The number of accelerators among them."""
        return sum(channel.info.scope in BOARDS for channel in self._channels)

    @property
    def dead(self) -> list[str]:
        """The devices of which nothing is known, and why. One whose counter has but not moved yet is none of them."""
        return [f"{c.info.name} ({c.trouble})" for c in self._channels if c.curve.last_power_w() is None and c.trouble]

    def _of_curves(self, now_ns: int) -> Spending:
        spent_j, power_w, unknown = -self._curves_begin_j, 0.0, 0
        known_ns: int | None = now_ns
        for channel in self._channels:  # without calls, as a step of the training waits for it
            last = channel.curve.last
            time_ns, energy_j, device_w = now_ns, 0.0, None
            if last is not None:
                time_ns, energy_j, device_w = last.time_ns, last.energy_j, last.power_w
            if device_w is None:
                known_ns = None
                unknown += 1 if channel.trouble else 0  # else the first update is yet to come
                spent_j += energy_j
                continue
            if known_ns is not None and time_ns < known_ns:
                known_ns = time_ns
            spent_j += energy_j + (device_w * (now_ns - time_ns) * NS if now_ns > time_ns else 0.0)
            power_w += device_w
        return Spending(spent_j, power_w, unknown, known_ns)


def open_session(ranks: Ranks, meters: Meters = "auto") -> Session:
    """Measure from now on, without an EnergyCallback. All ranks take part.

    Args:
        ranks: the ranks.
        meters: the meters.

    Raises:
        MeterUnavailable: nothing can be read.
    """
    wanted = check_meters(meters)
    session = Session(ranks.claim(lambda: open_meters(wanted, device=ranks.device)))
    session.mark(session.code(-1, "train", "gap"))
    return session
