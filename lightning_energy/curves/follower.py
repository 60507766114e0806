"""The thread that follows a helper process: it polls until the helper is ready, and whenever there is none any more."""

from __future__ import annotations

import pickle
import threading
from collections import deque
from itertools import count
from typing import TYPE_CHECKING

from lightning_energy.curves.helper import Helper, can_help
from lightning_energy.curves.poller import Poller
from lightning_energy.curves.relay import Relay
from lightning_energy.curves.side_process import START_S
from lightning_energy.meters.clock import monotonic_ns
from lightning_energy.meters.nvml import NvmlMeter
from lightning_energy.meters.units import NS

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from lightning_energy.curves.channel import Channel
    from lightning_energy.curves.relay import News

__all__ = ["Follower", "may_be_followed"]

START_NS = round(START_S / NS)  # time from the beginning until a helper is started
LOOK_NS = 20_000_000  # time between two looks whether it is ready
READY_NS = 30_000_000_000  # longest time until it is
MOST_UNOPENED = 4  # messages that wait to be opened, where nobody else opens them
OLD_NS = 1_000_000_000  # age of the last knot from which on an answer is waited for longer: soon its time is missing
OLD_CATCH_UP_S = 0.5  # longest wait then, once for each message


def may_be_followed(channel: Channel) -> bool:
    """Return true for a channel whose meter is to be read by a helper, and can be."""
    meter = channel.meter
    return type(meter) is NvmlMeter and meter.helper and can_help()


class Follower(Poller):
    """Starts a helper process in which the channels go on, and receives its news of them, every five seconds.

    They wait, unopened, until somebody needs them: so the thread that receives them holds the training up by little.
    Where none can be started, or it ends, hangs, or knows the boards otherwise than we do, the thread polls.

    Args:
        channels: the channels, of meters that can be read by a helper.
        lock: see :class:`~lightning_energy.curves.poller.Poller`, also for the others.
        settle: see there.
        enter: see there.
        beat: called about once a second while the helper reads.

    Attributes:
        is_following: true while the helper reads.
    """

    def __init__(
        self,
        channels: Sequence[Channel],
        lock: threading.RLock,
        settle: Callable[[], None] | None,
        enter: Callable[[], None] | None = None,
        beat: Callable[[], None] | None = None,
    ) -> None:
        super().__init__(channels, lock, settle, enter)
        self._beat = beat
        self._unopened: deque[bytes] = deque()
        self._opening = threading.Lock()  # held while news are opened, in their order
        self._in_vain_ns = 0  # the last message before a long wait in which none came
        self._is_astray = False  # there were news that cannot be, or do not go on from what is on the curves
        meters = [(c, c.meter) for c in channels]
        self._relays = [Relay(meter, c, lock) for c, meter in meters if isinstance(meter, NvmlMeter)]
        self._helper: Helper | None = Helper([relay.meter.uuid for relay in self._relays])
        self._begun_ns = 0  # when the helper was started
        self._look_ns = monotonic_ns() + START_NS
        self._is_back = False  # the thread is to read from now on
        self.is_following = False
        self._words = count(1)
        self._word, self._is_caught_up = "", threading.Event()

    def wake(self) -> None:
        """Let the thread look anew at its work."""
        super().wake()
        self.ask()

    def ask(self) -> None:
        """Have put on the curves soon what was read already."""
        helper = self._helper
        if helper is not None and self.is_following:
            helper.ask("?")

    def catch_up(self, timeout_s: float) -> bool:
        """Wait until everything that was read by now is on the curves; true when it is.

        A busy machine may take longer than ``timeout_s``. Figures without the last seconds would call them missing.
        """
        helper = self._helper
        if helper is None or not self.is_following or self.is_current or not self.is_running:
            return True
        beat_ns, known_ns = self.beat_ns, min(c.curve.end_ns or 0 for c in self.channels)
        is_patient = monotonic_ns() - known_ns > OLD_NS and beat_ns != self._in_vain_ns
        self._is_caught_up.clear()
        self._word = str(next(self._words))
        helper.ask(self._word)
        is_caught_up = self._is_caught_up.wait(max(timeout_s, OLD_CATCH_UP_S) if is_patient else timeout_s)
        if is_patient and not is_caught_up:
            self._in_vain_ns = beat_ns
        return is_caught_up

    def take_back(self) -> None:
        """Let the thread read the meters itself from now on; waits for nothing."""
        self._is_back = True
        helper = self._helper
        if helper is not None:
            helper.end()

    def cut(self) -> None:
        """Wait no more for what the helper has to say; what it has read since its last message is read anew."""
        helper = self._helper
        if helper is not None:
            helper.cut()

    def end(self) -> None:
        """Make no more polls; waits for nothing, so that the thread itself may call it."""
        super().end()
        self.take_back()

    def _run(self) -> None:
        try:
            super()._run()
        finally:
            self._give_up()

    def _rest(self, wait_ns: int) -> bool:
        """Sleep until a poll is due, or follow the helper as long as it reads."""
        if self._helper is not None and self._is_ready(self._helper):
            self._follow(self._helper)
            return True
        return super()._rest(wait_ns)

    def _is_ready(self, helper: Helper) -> bool:
        """Start the helper when it is time; true once it is ready."""
        now_ns = monotonic_ns()
        if self._is_back or now_ns < self._look_ns or not self.has_begun.is_set():
            return False
        self._look_ns = now_ns + LOOK_NS
        if not self._begun_ns:
            self._begun_ns = now_ns
            if not helper.start():
                self._give_up()
            return False
        found = helper.look()
        if found is None and now_ns - self._begun_ns < READY_NS:
            return False
        known = [(c.info.device_id, c.info.quality, c.info.instant_power) for c in self.channels]
        if found == known:
            return True
        self._give_up()
        return False

    def _follow(self, helper: Helper) -> None:
        """Let the channels go on in the helper, and take its news of them, until it ends."""
        try:
            helper.go([relay.leave() for relay in self._relays], self._beat)
            self.is_following = True  # others may ask it from now on
            while (message := helper.receive()) is not None and self._has_taken(message):
                self._settle_by(self.beat_ns)
                if self._is_over():
                    break
        finally:
            self.is_following = False
            self.take_news()
            for relay in self._relays:
                relay.go_on()
            if not self._is_back:  # else that has time until the thread ends: first the boards are to be read
                self._give_up()
            self._is_caught_up.set()

    def _has_taken(self, message: tuple[str, bool, bytes]) -> bool:
        """Take a message; false where the thread is to read from now on, as a call hangs there, say."""
        try:
            word, hangs, news = message
        except Exception:  # noqa: BLE001 - a message that cannot be: the boards must not be lost with it
            return False
        self.beat_ns = monotonic_ns()
        self._unopened.append(news)
        if word or len(self._unopened) > MOST_UNOPENED:  # somebody waits for it, or nobody opens them
            self.take_news()
        if word and word == self._word:
            self._is_caught_up.set()
        return not hangs and not self._is_astray

    def take_news(self) -> None:
        """Put on the curves what has come of the helper's news; any thread may."""
        with self._opening:
            was_astray = self._is_astray
            while self._unopened:
                news = self._unopened.popleft()  # those behind some that cannot be do not go on from the curves either
                self._is_astray = self._is_astray or not self._has_opened(news)
        if self._is_astray and not was_astray:
            self.ask()  # its answer lets the thread see it

    def _has_opened(self, data: bytes) -> bool:
        try:
            news: list[News] = pickle.loads(data)  # noqa: S301 - of a process of ours
            taken = [relay.take(each) for relay, each in zip(self._relays, news, strict=True)]
        except Exception:  # noqa: BLE001 - news that cannot be: the boards must not be lost with them
            return False
        return all(taken)

    def _give_up(self) -> None:
        helper, self._helper = self._helper, None
        if helper is not None:
            helper.leave()
