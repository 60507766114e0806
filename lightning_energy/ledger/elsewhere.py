"""Bookings that a process beside the training works out: its interpreter is hardly held up by them."""

from __future__ import annotations

import pickle
import socket
import threading
import time
from contextlib import suppress
from operator import is_
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import numpy as np

from lightning_energy.curves.side_process import START_S, SideProcess, can_start, set_timeout
from lightning_energy.ledger.kept import Facts, Kept, Packed
from lightning_energy.ledger.marks import AtMarks, Told
from lightning_energy.ledger.plain import look_of, plain_look, plain_state, state_of
from lightning_energy.ledger.sharing.classes import Classes
from lightning_energy.ledger.steps import Look

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from lightning_energy.ledger.accounts import AccountArrays
    from lightning_energy.ledger.booking import Pause
    from lightning_energy.ledger.marks import Marks
    from lightning_energy.ledger.news import News
    from lightning_energy.ledger.plain import PlainLook, PlainState

__all__ = ["Answer", "Ask", "Begun", "Done", "Elsewhere", "Task", "receive", "send"]

T = TypeVar("T")

MAIN = "lightning_energy.ledger.elsewhere_process"
BOOT = f"from {MAIN} import main; main()"
NEEDED = ("numpy", "psutil", "lightning_energy")  # the packages that it imports
CODE = np.uint32  # an account's number in a message
READY = b"r"  # its first word: it can do the work
PACKET = 1 << 16  # bytes of a packet at most: most messages are one, which wakes the reader once
LOOK_S = 0.4  # time between two looks, while a booking is waited for, whether it is still wanted: each is a wake-up
PATIENCE_S = 120.0  # longest wait for one: the first looks for the counter's delay take seconds, on a busy machine more
OF_BOOK = Facts, bytes, bytes | None, Told  # what an answer has of each


class Task(NamedTuple):
    """Everything that a ledger knows, and what of it is to be booked.

    Attributes:
        books: for each curve, what is booked of it, and the energies that were told.
        news: for each curve that has any.
        marks: the marks by each clock.
        clocks: for each curve, the number of its clock.
        slowest: the number of the clock that knows of marks last.
        completed: how many marks of the run every curve has passed.
        look: the search for steps as far as it went.
        classes: the table of classes.
        arrays: the accounts.
        tells_all: true where the energy of every mark is asked for.
    """

    books: Sequence[tuple[Kept, Told]]
    news: Sequence[News | None]
    marks: Sequence[Marks]
    clocks: Sequence[int]
    slowest: int
    completed: int
    look: Look
    classes: Classes
    arrays: AccountArrays
    tells_all: bool


class Begun(NamedTuple):
    """Everything that the process keeps from one booking to the next, as it is at the first.

    Attributes:
        books: see :class:`Task`; what is booked is packed.
        dropped: by clock, how many marks of the run came before those that are sent.
        clocks: see there, as the others.
    """

    books: list[tuple[Packed, Told]]
    dropped: list[int]
    clocks: list[int]
    slowest: int
    completed: int
    look: Look


class Ask(NamedTuple):
    """A request.

    Attributes:
        begun: where the process has not answered the last one, or something else was booked meanwhile.
        tables: classes and accounts, where they have changed.
        marks: by clock, times and accounts of the marks since the last request, in few bytes.
        news: by curve, how many marks of the run are among what is to be booked, and the news, without marks.
        tells_all: see :class:`Task`.
    """

    begun: Begun | None
    tables: tuple[Classes, AccountArrays] | None
    marks: list[tuple[bytes, bytes]]
    news: dict[int, tuple[int, tuple[Any, ...]]]
    tells_all: bool

    def plain(self) -> tuple[Any, ...]:
        """The same in values that are pickled without a call of Python's, but at the first request."""
        return tuple(self)

    def times_and_codes(self) -> list[tuple[NDArray[np.int64], NDArray[np.int64]]]:
        """The marks, by clock."""
        return [
            (np.frombuffer(times, np.int64), np.frombuffer(codes, CODE).astype(np.int64)) for times, codes in self.marks
        ]


class Done(NamedTuple):
    """An answer.

    Attributes:
        classes: the table of classes, if it has grown.
        books: by curve with news, what is booked of it, as :class:`~lightning_energy.ledger.kept.Packed` has it but
            without powers that are as they were, and the energies told since of marks that not every curve has passed.
        completed: how many marks of the run every curve has passed then.
        look: the search for steps since.
        at_marks: the state of all curves together at these marks, where every mark is asked for.
    """

    classes: Classes | None
    books: dict[int, tuple[Facts, bytes, bytes | None, Told]]
    completed: int
    look: Look
    at_marks: AtMarks | None

    def plain(self) -> tuple[Any, ...]:
        """The same in values that are unpickled without a call of Python's: with cold caches, each takes long."""
        books = {
            number: ((*facts,), rest, powers, plain_state(told.at_marks), told.first)
            for number, (facts, rest, powers, told) in self.books.items()
        }
        at_marks = None if self.at_marks is None else plain_state(self.at_marks)
        return self.classes, books, self.completed, plain_look(self.look), at_marks

    @classmethod
    def of_plain(
        cls,
        classes: Classes | None,
        books: dict[int, tuple[Any, ...]],
        completed: int,
        look: PlainLook,
        at_marks: PlainState | None,
    ) -> Done:
        """The answer whose :meth:`plain` this is."""
        return cls(
            classes,
            {
                number: (Facts(*facts), rest, powers, Told(state_of(told), first))
                for number, (facts, rest, powers, told, first) in books.items()
            },
            completed,
            look_of(look),
            None if at_marks is None else state_of(at_marks),
        )


class Answer(NamedTuple):
    """A booking of all curves; attributes as those of :class:`Done`.

    Attributes:
        first: how many marks of the run every curve had passed before.
        looked: how many marks of the run had been looked through for steps before.
        books: by curve, what was booked then, and the energies that were told since.
    """

    first: int
    looked: int
    books: dict[int, tuple[News, Kept, Told]]
    completed: int
    look: Look
    at_marks: AtMarks | None


class _Known(NamedTuple):
    """Everything that the process knows, as of its last answer."""

    books: list[Kept]
    powers: list[bytes]
    ends: list[int]
    completed: int
    looked: int
    arrays: AccountArrays
    classes: tuple[int, int]

    def is_current(self, task: Task) -> bool:
        """True where nothing else was booked since."""
        booked, marks = [kept for kept, _ in task.books], (task.completed, task.look.looked)
        is_same = (self.completed, self.looked) == marks and len(booked) == len(self.books)
        return is_same and all(map(is_, booked, self.books))


class Elsewhere:
    """Works out bookings in a process of its own, as soon as it is there; where it is not, the caller has to.

    The process goes on from what it answered last, if that is what was booked, and else begins anew with everything.
    """

    def __init__(self) -> None:
        self._side: SideProcess | None = SideProcess(BOOT, NEEDED, socket.SOCK_SEQPACKET) if can_start() else None
        self._is_started = self._is_ready = False
        self._since_s = time.monotonic()
        self._turn = threading.Lock()  # held while the process works
        self._known: _Known | None = None
        self._buffer = bytearray(PACKET)

    def leave(self) -> None:
        """Have nothing to do with the process any more."""
        side, self._side = self._side, None
        if side is not None:
            side.leave()

    @property
    def is_there(self) -> bool:
        """True where it takes work."""
        return self._there() is not None

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
        return side if self._is_ready or self._has_said_so(side) else None

    def _has_said_so(self, side: SideProcess) -> bool:
        """True once the process has said that it is ready; where it ended before, it is left."""
        if side.is_starting:
            return False
        word = b""
        with suppress(OSError):
            try:
                word = b"" if side.sock is None else side.sock.recv(len(READY), socket.MSG_DONTWAIT)
            except BlockingIOError:  # not yet
                return False
        self._is_ready = word == READY
        if not self._is_ready:
            self.leave()
        return self._is_ready

    def work_out(self, task: Task, pause: Pause) -> Answer | None:
        """Book what is new; ``None`` where the caller has to.

        Args:
            task: all that is known.
            pause: called while it is waited for; what it raises ends the wait.
        """
        side = self._there()
        if side is None or not self._turn.acquire(blocking=False):
            return None
        try:
            known, self._known = self._known, None
            known = known if known is not None and known.is_current(task) else None
            size = task.classes.size  # as they are sent, at least: meanwhile others may extend them here
            asked = _asked(side, task, known, self._buffer, pause)
            answer = None if asked is None else self._answer(task, size, *asked)
            if asked is None:
                self.leave()
        except BaseException:
            self.leave()  # its answer is not waited for: it would come as that of another
            raise
        finally:
            self._turn.release()
        return answer

    def _answer(self, task: Task, size: tuple[int, int], powers: list[bytes], done: Done) -> Answer | None:
        """The answer, if it holds here."""
        if done.classes is not None and not task.classes.has_taken(done.classes):
            return None  # meanwhile the numbers of its new ones were given to others
        books, kept = {}, [k for k, _ in task.books]
        for number, (facts, rest, of_powers, told) in done.books.items():
            powers[number] = powers[number] if of_powers is None else of_powers
            kept[number] = Kept(Packed(facts, rest, powers[number]))
            news = task.news[number]
            if news is not None:
                books[number] = news, kept[number], told
        ends = [marks.dropped + len(marks.code) for marks in task.marks]
        size = size if done.classes is None else done.classes.size
        self._known = _Known(kept, powers, ends, done.completed, done.look.looked, task.arrays, size)
        return Answer(task.completed, task.look.looked, books, done.completed, done.look, done.at_marks)


def _ask(task: Task, known: _Known | None) -> Ask:
    """The request, without what the process knows."""
    begun = None
    if known is None:
        books = [(kept.packed, told) for kept, told in task.books]
        dropped = [marks.dropped for marks in task.marks]
        begun = Begun(books, dropped, [*task.clocks], task.slowest, task.completed, task.look)
    has_tables = known is not None and known.arrays is task.arrays and known.classes == task.classes.size
    since = (
        [0] * len(task.marks)
        if known is None
        else [end - marks.dropped for end, marks in zip(known.ends, task.marks, strict=True)]
    )
    return Ask(
        begun,
        None if has_tables else (task.classes, task.arrays),
        [
            (marks.time_ns[n:].tobytes(), marks.code[n:].astype(CODE).tobytes())
            for n, marks in zip(since, task.marks, strict=True)
        ],
        {number: (news.passed, news.plain()) for number, news in enumerate(task.news) if news is not None},
        task.tells_all,
    )


def _asked(
    side: SideProcess, task: Task, known: _Known | None, buffer: bytearray, pause: Pause
) -> tuple[list[bytes], Done] | None:
    """The powers that the process knows, by curve, and its answer; ``None`` where there will be none."""
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
        ask = _ask(task, known)
        if ask.begun is not None:
            set_timeout(sock, socket.SO_RCVTIMEO, LOOK_S)
            set_timeout(sock, socket.SO_SNDTIMEO, PATIENCE_S)
        send(sock, ask)
        done = _checked(receive(sock, wait, buffer, Done.of_plain), ask)
        if ask.begun is not None:
            _open(done)
    except Exception:  # it has ended, or answers as another release does, which was installed a moment ago
        if ended:
            raise
        return None
    if ask.begun is not None:
        return [of.powers for of, _ in ask.begun.books], done
    return [] if known is None else known.powers, done


def _checked(done: Any, ask: Ask) -> Done:
    """The answer to a request.

    Raises:
        TypeError: it is none.
    """
    if not (
        isinstance(done, Done)
        and all(map(isinstance, (done.classes, *done[2:]), (Classes | None, int, Look, AtMarks | None)))
        and done.books.keys() == ask.news.keys()
        and all(all(map(isinstance, of_book, OF_BOOK)) for of_book in done.books.values())
    ):
        raise TypeError(f"{type(done).__name__} is no answer")
    return done


def _open(done: Done) -> None:
    """Look at an answer as a whole, as at the first of each process: at later ones when somebody asks.

    Raises:
        Exception: it cannot be opened.
    """
    for facts, rest, powers, _ in done.books.values():
        _ = Kept(Packed(facts, rest, powers or b"")).state


def send(sock: socket.socket, message: Ask | Done) -> None:
    """Send a message: packets of ``PACKET`` bytes, and at last one that has fewer.

    Raises:
        OSError: nobody takes it.
    """
    rest = memoryview(pickle.dumps(message.plain(), pickle.HIGHEST_PROTOCOL))
    while len(rest) >= PACKET:
        sock.send(rest[:PACKET], socket.MSG_NOSIGNAL)
        rest = rest[PACKET:]
    sock.send(rest or b"\0", socket.MSG_NOSIGNAL)  # an empty one would be the end of all


def receive(sock: socket.socket, wait: Callable[[], None], buffer: bytearray, of_plain: Callable[..., T]) -> T:
    """The next message.

    Args:
        sock: connected with the sender.
        wait: called whenever nothing came within the socket's timeout; what it raises ends the wait.
        buffer: of ``PACKET`` bytes, used again and again.
        of_plain: makes the message of its plain values.

    Raises:
        EOFError: there will be none any more.
        OSError: the same.
    """
    n = _read(sock, buffer, wait)
    if n < PACKET:
        return of_plain(*pickle.loads(memoryview(buffer)[:n]))  # noqa: S301 - of a process of ours
    data = bytearray()
    while n == PACKET:
        data += buffer
        n = _read(sock, buffer, wait)
    return of_plain(*pickle.loads(data + buffer[:n]))  # noqa: S301 - same


def _read(sock: socket.socket, into: bytearray, wait: Callable[[], None]) -> int:
    """Read a packet; the number of its bytes."""
    while True:
        try:
            n = sock.recv_into(into)
        except BlockingIOError:
            wait()
        else:
            if not n:
                raise EOFError
            return n
