"""Remarks on figures: each has a kind, by which programs choose, and a sentence for people."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["Note", "NoteKind"]

NoteKind = Literal[
    "incomplete",  # other ranks are not in the figures
    "killed_session",  # an earlier session left no last record
    "unknown_before",  # earlier sessions are not in the total
    "after_checkpoint",  # what an earlier session spent after its checkpoint is not in the total
    "gave_up",  # a rank stopped measuring after a defect
    "sensor",  # a sensor could not be read for a while
    "absent_meter",  # a device could not be measured from the start
    "aliasing",  # steps may beat against a sensor that looks at a part of the time
    "unresolved",  # steps are shorter than the time between two points of a curve
    "by_time",  # energy between two updates of a counter is shared out by time alone
    "sharing",  # other programs used the devices
    "measuring",  # idle baselines and the device's clock
    "samples",  # samples could not be counted
    "withdrawn",  # scores that took a percentage for a fraction
    "merged_ranks",  # the records of several ranks were put together
    "forecast",  # the end of a run that was interrupted or killed, as it was expected
    "ended",  # a callback of this package, or an exception, ended the run
    "phases",  # phases of training steps that cannot be told apart
    "rank_details",  # the devices of a rank could not be listed
    "other",
]
"""The subject of a remark."""

OF_EARLIER_SESSIONS = frozenset[NoteKind]({"killed_session", "unknown_before", "after_checkpoint"})
LOWERS_TOTAL = OF_EARLIER_SESSIONS | frozenset[NoteKind]({"incomplete", "gave_up", "sensor"})


@dataclass(frozen=True)
class Note:
    """A remark about something missing or doubtful.

    Attributes:
        kind: its subject.
        text: a sentence.

    Example:
        >>> note = Note("incomplete", "Incomplete: 2 rank(s) left no record; their energy is missing")
        >>> note.lowers_total, Note("aliasing", "aliasing risk").lowers_total
        (True, False)
    """

    kind: NoteKind
    text: str

    @property
    def lowers_total(self) -> bool:
        """True when more was spent than the total says."""
        return self.kind in LOWERS_TOTAL

    @property
    def is_of_earlier_sessions(self) -> bool:
        """True when it holds for the run's total in all sessions that follow, too."""
        return self.kind in OF_EARLIER_SESSIONS

    def __str__(self) -> str:
        return self.text
