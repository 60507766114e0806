"""Sentences for the user about sensors, boards and clocks that did not do as they should."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.handlers import raised_by_handler
from lightning_energy.meters.other_programs import OtherPrograms
from lightning_energy.meters.patience import ask
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.curves.channel import Channel
    from lightning_energy.ledger.device_clock import DeviceClock

__all__ = ["Sharing", "Troubles", "clock_notes"]

OF_CPU = frozenset({"module", "package", "dram", "psys", "machine", "processes"})  # scopes of CPUs and their memory
QUERY_S = 2.0  # longest wait for an answer about other programs
MUCH = 0.1  # share of the CPU time: twice what a package's sensor may be off, so that its joules show it
BUSY_WAITS = (
    ". Threads that wait for each other may take CPU time meanwhile, the more the busier the machine is: the "
    "environment variable OMP_WAIT_POLICY=PASSIVE lets them sleep"
)


class Troubles:
    """Failures of a session's sensors, each kind of each sensor reported once.

    Attributes:
        sentences: all that were reported so far.
    """

    def __init__(self) -> None:
        self.sentences: list[str] = []
        self._reported: set[str] = set()

    def look(
        self, channels: Sequence[Channel], sampler_failure: BaseException | None, defect: Exception | None = None
    ) -> list[str]:
        """Sentences about failures since the last call.

        Args:
            channels: the devices.
            sampler_failure: the error that ended the sampler's thread; ``None`` while it is well.
            defect: the error after which nothing is worked out ahead of an epoch's end; ``None`` while it is.
        """
        news = [
            self._of(channel, text, since_ns)
            for channel in channels
            for kind, (text, since_ns) in [*channel.troubles.items()]
            if self._is_new(f"{channel.info.device_id} {kind}")
        ]
        if sampler_failure is not None and self._is_new("sampler"):
            problem = f"{type(sampler_failure).__name__}: {sampler_failure}"
            news.append(f"the sampler stopped ({problem}): from now on energy is missing")
        if defect is not None and self._is_new("defect"):
            problem = f"{type(defect).__name__}: {defect}"
            news.append(
                f"the ends of epochs take some milliseconds longer from now on ({problem}); all figures are as they "
                f"should be. Please report this as a bug of lightning-energy"
            )
        self.sentences += news
        return news

    def _is_new(self, source: str) -> bool:
        is_new = source not in self._reported
        self._reported.add(source)
        return is_new

    @staticmethod
    def _of(channel: Channel, text: str, since_ns: int) -> str:
        ago_s = (monotonic_ns() - since_ns) * NS
        return (
            f"{channel.info.name} ({channel.info.device_id}): {text}, first seen {ago_s:.1f} s ago. "
            f"Energy that it spends while it cannot be read is missing from all totals"
        )


class Sharing:
    """Watches, from when it is made, what other programs do on the devices of a session.

    Args:
        channels: the devices.
    """

    def __init__(self, channels: Sequence[Channel]) -> None:
        self._channels = channels
        self._others: OtherPrograms | None = None
        if any(c.info.scope in OF_CPU for c in channels):
            with suppress(Exception):
                self._others = ask(OtherPrograms, QUERY_S)

    def notes(self) -> list[str]:
        """Notes for the end: boards that others came to use meanwhile, and CPUs that others used much.

        Drivers and systems may hang when they are asked for processes: then it is not known.
        """
        notes = []
        for find, what in ((self._on_boards, "boards"), (self._on_cpus, "CPUs")):
            try:
                notes += ask(find, QUERY_S)
            except TimeoutError:
                notes.append(
                    f"It is not known whether other programs used the {what}: the query for processes does not answer "
                    f"within {QUERY_S:g} s"
                )
            except Exception as error:  # whatever it is, the books must be closed
                if raised_by_handler(error):
                    raise
                notes.append(f"It is not known whether other programs used the {what}: {type(error).__name__}: {error}")
        return notes

    def _on_boards(self) -> list[str]:
        notes = []
        for channel in self._channels:
            others = None
            with suppress(Exception):  # whatever a meter of the user's does, the books must be closed
                others = channel.meter.other_processes()
            if others and "shared" not in channel.info.note:
                notes.append(
                    f"{channel.info.name}: shared with {len(others)} other process(es) at the end; its energy is the "
                    f"whole board's"
                )
        return notes

    def _on_cpus(self) -> list[str]:
        share = None if self._others is None else self._others.share()
        if share is None or share < MUCH:
            return []
        used = f"other programs used {100 * share:.0f} % of this machine's CPU time meanwhile"
        names = [c.info.name for c in self._channels if c.info.scope in OF_CPU and c.info.scope != "processes"]
        own = any(c.info.scope == "processes" for c in self._channels)
        return [
            *([f"{', '.join(names)}: {used}; their energy is in these joules"] if names else []),
            *([f"{used[0].upper()}{used[1:]}; they are not in the estimate{BUSY_WAITS}"] if own else []),
        ]


def clock_notes(clock: DeviceClock | None) -> list[str]:
    """Notes on marks that have the host's time where they should have the device's."""
    if clock is None:
        return []
    if clock.failure is not None:
        problem = f"{type(clock.failure).__name__}: {clock.failure}"
        return [f"The device's clock cannot be read any more ({problem}): steps are cut at the host's times"]
    if clock.half_width_ns is None:
        return ["The device's clock could not be tied to the host's: steps are cut at the host's times"]
    if clock.lost or clock.unstamped:
        return [f"{clock.lost + clock.unstamped} time stamps of steps are the host's, not the device's"]
    return []
