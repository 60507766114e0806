"""Bookings that a process beside the training works out: its interpreter is hardly held up by them."""

from __future__ import annotations

import pickle
import socket
import struct
import threading
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from lightning_energy.curves.side_process import START_S, SideProcess, can_start, set_timeout
from lightning_energy.ledger.booking import Booking, still_held, work_out
from lightning_energy.ledger.held import Held
from lightning_energy.ledger.sharing.delay import EXACT

if TYPE_CHECKING:
    from collections.abc import Callable

    import numpy as np
    from numpy.typing import NDArray

    from lightning_energy.ledger.booking import Due, Pause, State
    from lightning_energy.ledger.marks import AtMarks
    from lightning_energy.ledger.sharing.classes import Classes

__all__ = ["Done", "Elsewhere", "receive", "send"]

MAIN = "lightning_energy.ledger.elsewhere_process"
BOOT = f"from {MAIN} import main; main()"
NEEDED = ("numpy", "psutil", "lightning_energy")  # the packages that it imports
HEADER = struct.Struct("<Q")  # the number of bytes that follow
LOOK_S = 0.1  # time between two looks, while a booking is waited for, whether it is still wanted
PATIENCE_S = 120.0  # longest wait for one: the first looks for the counter's delay take seconds, on a busy machine more


class Done(NamedTuple):
    """A booking as it comes back: without knots and marks, which the training's process has itself."""

    classes: Classes
    state: State
    booked: int
    at_marks: AtMarks

    @classmethod
    def of(cls, booking: Booking) -> Done:
        """A booking without them."""
        state = booking.state._replace(held=Held.empty())
        return cls(booking.due.classes, state, booking.booked, booking.at_marks)

    def booking(self, due: Due, groups: NDArray[np.int64]) -> Booking:
        """The booking of what is due."""
        told = due.held.told + len(self.at_marks.energy_j)
        held = still_held(due.held, self.state.sharing, booked=self.booked, told=told)
        return Booking(due, self.state._replace(held=held), groups, self.booked, self.at_marks)


class Elsewhere:
    """Works out bookings in a process of its own, as soon as it is there, and in the calling thread where it is not.

    The process keeps nothing from one booking to the next: one that ends, or is too slow, costs the time until then.
    """

    def __init__(self) -> None:
        self._side: SideProcess | None = SideProcess(BOOT, NEEDED) if can_start() else None
        self._is_started = False
        self._since_s = time.monotonic()
        self._turn = threading.Lock()  # held while the process works

    def leave(self) -> None:
        """Have nothing to do with the process any more."""
        side, self._side = self._side, None
        if side is not None:
            side.leave()

    def _there(self) -> SideProcess | None:
        """The process, where it takes work; started in the background when it is time."""
        side = self._side
        if side is None or not side.is_ours:
            return None
        if not self._is_started:
            if time.monotonic() - self._since_s >= START_S:
                self._is_started = True
                if not side.start():
                    self._side = None
            return None
        return None if side.is_starting or side.sock is None else side

    def work_out(self, due: Due, groups: NDArray[np.int64], pause: Pause) -> Booking:
        """Book the intervals that are due, as :func:`~lightning_energy.ledger.booking.work_out` does.

        Args:
            due: knots and marks.
            groups: for each account, the first one of its group.
            pause: called between parts of the work, and while it is waited for; what it raises ends the wait.
        """
        is_cheap = due.is_exact or due.state.sharing.found is EXACT  # nothing is looked for, or fitted
        side = None if is_cheap else self._there()
        if side is None or not self._turn.acquire(blocking=False):
            return work_out(due, groups, pause)
        try:
            done = _asked(side, due, groups, pause)
            if done is None:
                self.leave()
        except BaseException:
            self.leave()  # its answer is not waited for: it would come as that of another
            raise
        finally:
            self._turn.release()
        if done is None:
            return work_out(due, groups, pause)
        if not due.classes.has_taken(done.classes):  # meanwhile the numbers of its new ones were given to others
            return work_out(due, groups, pause)
        return done.booking(due, groups)


def _asked(side: SideProcess, due: Due, groups: NDArray[np.int64], pause: Pause) -> Done | None:
    """The booking that the process works out; ``None`` where there will be none."""
    sock, until_s = side.sock, time.monotonic() + PATIENCE_S
    if sock is None:
        return None
    ended: list[BaseException] = []

    def wait() -> None:
        try:
            pause()
        except BaseException as error:
            ended.append(error)
            raise
        if time.monotonic() > until_s:
            raise EOFError

    try:
        set_timeout(sock, socket.SO_RCVTIMEO, LOOK_S)
        set_timeout(sock, socket.SO_SNDTIMEO, PATIENCE_S)
        send(sock, (due._replace(state=due.state._replace(held=due.held)), groups))  # what is due has what was held
        done: Done = receive(sock, wait)
    except Exception:  # it has ended, or answers as another release does, which was installed a moment ago
        if ended:
            raise
        return None
    return done


def send(sock: socket.socket, message: object) -> None:
    """Send a message.

    Raises:
        OSError: nobody takes it.
    """
    data = pickle.dumps(message, pickle.HIGHEST_PROTOCOL)
    sock.sendall(HEADER.pack(len(data)) + data, socket.MSG_NOSIGNAL)


def receive(sock: socket.socket, wait: Callable[[], None]) -> Any:
    """The next message.

    Args:
        sock: connected with the sender.
        wait: called whenever nothing came within the socket's timeout; what it raises ends the wait.

    Raises:
        EOFError: there will be none any more.
        OSError: the same.
    """
    (n,) = HEADER.unpack(_bytes(sock, HEADER.size, wait))
    return pickle.loads(_bytes(sock, n, wait))  # noqa: S301 - of a process of ours


def _bytes(sock: socket.socket, n: int, wait: Callable[[], None]) -> bytearray:
    data, got = bytearray(n), 0
    while got < n:
        try:
            more = sock.recv_into(memoryview(data)[got:], 0, socket.MSG_WAITALL)
        except BlockingIOError:
            wait()
        else:
            if not more:
                raise EOFError
            got += more
    return data
