"""Doubts about the line through a register's updates: raised by edges that stray from it, and settled by others."""

from __future__ import annotations

from typing import Literal

from lightning_energy.curves.update_times import FIT_MINIMUM

__all__ = ["Doubts", "Verdict"]

Verdict = Literal["good", "doubtful", "wrong"]
"""Judgement of the line: it may place the edge; it may not; it has to be given up."""

RUNNING = 2  # edges in a row that make the line doubtful, if they came too soon, or wrong, if narrow and astray


class Doubts:
    """Judges the line by every edge that is placed.

    An edge is *narrow* when two polls say which update it was. Only such an edge shows whether the line holds; where
    calls are slow, or the thread is late, none is narrow: then enough others have to do, as at the beginning.

    Attributes:
        is_raised: an edge came when the line said that none would, and no narrow edge was seen since.
        strayed: number of narrow edges in a row that strayed from the line.
    """

    def __init__(self) -> None:
        self.is_raised = False
        self.strayed = 0
        self._edges_since = 0  # since a doubt was raised
        self._too_soon = 0  # edges in a row that came sooner than the line said
        self._last_was_narrow = False

    def came_too_soon(self) -> None:
        """Note that the last edge was seen by a poll that should have come before it.

        One such edge may have been early, or its poll late. After two in a row, the line may not hold any more: it is
        not used until a narrow edge shows whether it does, or until there were enough other edges for a new line.
        """
        if self._last_was_narrow:
            return
        self._too_soon += 1
        if self._too_soon >= RUNNING and not self.is_raised:
            self._raise()

    def judge(self, *, strays: bool, is_narrow: bool, is_regular: bool) -> Verdict:
        """Judge the line by one edge.

        Args:
            strays: the edge lies further from the line than their brackets explain.
            is_narrow: the polls say which update it was.
            is_regular: the line was in use.
        """
        self._last_was_narrow = is_narrow
        if is_narrow:
            self.strayed, self._too_soon = self.strayed + 1 if strays else 0, 0
            is_wrong, self.is_raised = self.strayed >= (1 if self.is_raised else RUNNING), False
        else:
            if strays and is_regular:
                self._raise()
            self._edges_since += 1
            is_wrong = self.is_raised and self._edges_since >= FIT_MINIMUM
        if is_wrong:
            self.strayed, self.is_raised = 0, False
            return "wrong"
        return "doubtful" if not is_narrow and (self.is_raised or self.strayed) else "good"

    def _raise(self) -> None:
        self.is_raised, self._edges_since = True, 0
