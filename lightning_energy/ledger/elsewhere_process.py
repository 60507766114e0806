"""The process that works out bookings: ``python -c "…main()" PARENT RELEASE``, started by ``elsewhere.py``."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import numpy as np

from lightning_energy.curves.side_process import serve_parent, set_timeout
from lightning_energy.ledger.booking import work_out
from lightning_energy.ledger.elsewhere import PACKET, READY, Ask, Begun, Done, receive, send
from lightning_energy.ledger.kept import Kept, packed
from lightning_energy.ledger.marks import AtMarks, Marks, Told
from lightning_energy.ledger.news import News
from lightning_energy.ledger.steps import KnownSteps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from lightning_energy.ledger.accounts import AccountArrays
    from lightning_energy.ledger.kept import Facts
    from lightning_energy.ledger.sharing.classes import Classes

__all__ = ["Counterpart", "main", "serve"]

LOOK_S = 5.0  # time between two looks, while nothing comes, whether the parent lives: others may hold its socket's end


class Counterpart:
    """Goes on with a ledger's bookings as it was told, from the first to the last.

    Args:
        begun: everything that was booked before the first.
        tables: classes and accounts.
    """

    def __init__(self, begun: Begun, tables: tuple[Classes, AccountArrays]) -> None:
        self._kept = [Kept(of) for of, _ in begun.books]
        self._told = [told for _, told in begun.books]
        self._marks = [Marks(dropped=n) for n in begun.dropped]
        self._clocks, self._slowest = begun.clocks, begun.slowest
        self._completed = begun.completed
        self._steps = KnownSteps(begun.look)
        self._tables = tables
        self._powers: dict[int, object] = {}  # those that were sent
        self._sent = [told.end for told in self._told]  # by curve, how many marks of the run were told there

    def answer(self, ask: Ask) -> Done:
        """Book what is asked for."""
        self._tables = classes, arrays = ask.tables or self._tables
        for marks, (time_ns, code) in zip(self._marks, ask.times_and_codes(), strict=True):
            marks.time_ns, marks.code = np.append(marks.time_ns, time_ns), np.append(marks.code, code)
        n, due = len(classes.names), {}
        for number, (passed, values) in ask.news.items():
            kept, marks = self._kept[number], self._marks[self._clocks[number]]
            rows = slice(kept.facts.passed - marks.dropped, passed - marks.dropped)
            news = News.of_plain(kept, marks.time_ns[rows], marks.code[rows], *values)
            due[number] = news.due(classes)
        for number, each in due.items():
            booking = work_out(each, arrays.group)
            self._kept[number] = Kept(booking.state)
            self._told[number] = self._told[number].followed_by(booking.at_marks)
        at_marks = self._complete(arrays)
        books = {number: (*self._packed(number), self._told[number].behind(self._sent[number])) for number in ask.news}
        self._sent = [told.end for told in self._told]
        grown, look = classes if len(classes.names) > n else None, self._steps.look
        steps = self._steps.take()
        look = look._replace(steps=() if steps is None else (steps,))
        return Done(grown, books, self._completed, look, at_marks if ask.tells_all else None)

    def _packed(self, number: int) -> tuple[Facts, bytes, bytes | None]:
        """The state of a curve, with its powers where they are new."""
        state = self._kept[number].state
        powers = state.sharing.powers
        is_known = number in self._powers and self._powers[number] is powers
        self._powers[number] = powers
        facts, rest, of_powers = packed(state, b"" if is_known else None)
        return facts, rest, None if is_known else of_powers

    def _complete(self, arrays: AccountArrays) -> AtMarks:
        """Look for steps among marks that every curve has passed, and forget them; the state at these marks."""
        first, marks = self._completed, self._marks[self._slowest]
        end = min(told.end for told in self._told)
        if end <= first:
            return AtMarks.none()
        rows = slice(first - marks.dropped, end - marks.dropped)
        at_marks = AtMarks.together([told.behind(first).until(end) for told in self._told])
        self._steps.find(marks.time_ns[rows], marks.code[rows], at_marks, arrays, first=first)
        self._completed = end
        self._told = [Told(*told.behind(end)) for told in self._told]
        for each in self._marks:
            each.drop_before(end)
        return at_marks


def serve(sock: socket.socket, parent: int, _: Sequence[str] = ()) -> None:
    """Work out bookings until the parent has enough, or is gone.

    Args:
        sock: connected with the parent.
        parent: its process identifier.

    Raises:
        OSError: the parent is gone.
        EOFError: the parent has enough.
    """
    set_timeout(sock, socket.SO_RCVTIMEO, LOOK_S)

    def wait() -> None:
        if os.getppid() != parent:
            raise EOFError

    sock.send(READY, socket.MSG_NOSIGNAL)
    counterpart, buffer = None, bytearray(PACKET)
    while True:
        ask = receive(sock, wait, buffer, Ask)
        if ask.begun is not None and ask.tables is not None:
            counterpart = Counterpart(ask.begun, ask.tables)
        if counterpart is None:
            return
        send(sock, counterpart.answer(ask))


def main() -> None:
    """Work out bookings until the parent has enough, or is gone."""
    serve_parent(serve, EOFError)
