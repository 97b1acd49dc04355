"""Tells the broker, for ever: states certainly and in order, figures when they are fresh, and what it cannot send not.

Queues hold QUEUED states at most and no figures at all: a figure that could not be sent when it was new is never sent.
"""

import random
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from device.config.fleet import FleetSettings
from device.errors import UserError
from device.fleet import payload
from device.fleet.connection import Connection, NoConnection
from device.fleet.watch import Reading

QUEUED = 32
BACK_OFF_S = (1.0, 300.0)
STEADY_S = 60.0  # a connection that lasted so long was a good one: the next pause is the shortest again
LEAVE_S = 2.0  # for the farewell


def pause_s(failures: int, chance: float) -> float:
    """Seconds before the next attempt after `failures` (from 1) in a row; chance: 0 to 1, so that units spread.

    Doubles from the shortest to the longest pause, and lies between half of that and all of it.
    """
    shortest, longest = BACK_OFF_S
    whole = min(longest, shortest * 2.0 ** min(failures - 1, 30))
    return whole * (0.5 + 0.5 * chance)


@dataclass(eq=False)
class Kept:
    """A message that the broker is to keep and to acknowledge."""

    leaf: str
    body: dict[str, Any]
    sent: bool = False


class Publisher:
    """Holds the connection. say: takes a line for the log. Of one thread alone."""

    def __init__(self, settings: FleetSettings, unit: str, say: Callable[[str], None]) -> None:
        self._settings, self._unit, self._say = settings, unit, say
        self._connection: Connection | None = None
        self._queue: deque[Kept] = deque()
        self._dropped = 0
        self._status: tuple[str, str] | None = None
        self._since = payload.now_utc()
        self._about: dict[str, Any] | None = None
        self._reading: Reading | None = None
        self._figures_at = -float("inf")
        self._failures, self._try_at, self._came_at = 0, -float("inf"), 0.0
        self._told = ""
        self._greeted = False

    @property
    def connected(self) -> bool:
        """Whether the broker has let this unit in."""
        return self._connection is not None and self._connection.connected

    def take(self, reading: Reading) -> None:
        """Note what the daemon says now; a change of its state, and of what it is, is queued."""
        self._reading = reading
        if (reading.state, reading.why) != self._status:
            self._status, self._since = (reading.state, reading.why), payload.now_utc()
            self._keep("status", payload.status(reading, self._since, self._dropped))
            self._figures_at = -float("inf")
        about = payload.about(reading.samples)
        if about != self._about:
            self._about = about
            self._keep("about", about)

    def work(self, seconds: float) -> None:
        """Connect when it is time, send what waits, listen to the broker; takes at most so long, connecting apart.

        Never raises for the broker's sake. The first attempt raises UserError for a file that must be mended; a later
        one goes on trying, for a password that is just being replaced is no reason to end.
        """
        try:
            if self._connection is None:
                if time.monotonic() < self._try_at:
                    time.sleep(min(seconds, max(0.0, self._try_at - time.monotonic())))
                    return
                self._connection = self._connect()
            if self._connection.connected:
                self._send()
            self._connection.work(seconds)
            if self._connection.connected:
                self._greet()
                self._send()
        except NoConnection as error:
            self._lose(str(error))
        except UserError as error:
            if not self._failures and not self._came_at:
                raise
            self._lose(str(error))

    def leave(self) -> None:
        """Say that the unit ends of its own will, and go; a broker that does not answer gets LEAVE_S."""
        if self._connection is None or not self._connection.connected:
            return
        self._queue.clear()
        self._keep("status", payload.offline("stopped", payload.now_utc()))
        until = time.monotonic() + LEAVE_S
        try:
            while self._queue and time.monotonic() < until:
                self._send()
                self._connection.work(0.05)
            self._connection.close()
        except NoConnection as error:
            self._say(f"{error} The broker tells the Last Will instead.")

    def _connect(self) -> Connection:
        self._greeted = False
        will = payload.encoded(payload.offline("connection lost", payload.now_utc()))
        return Connection(self._settings, self._unit, (self._topic("status"), will), self._acknowledged)

    def _greet(self) -> None:
        """Once per connection: the broker may have told the Last Will meanwhile, or lost what it kept."""
        if self._greeted:
            return
        self._greeted, self._came_at = True, time.monotonic()
        self._told = ""
        self._say(f"{self._connection.where}: connected, topics {self._topic('#')}")
        waiting = {kept.leaf for kept in self._queue}  # of each leaf the last is that of now
        if self._reading is not None and "status" not in waiting:
            self._keep("status", payload.status(self._reading, self._since, self._dropped))
        if self._about is not None and "about" not in waiting:
            self._keep("about", self._about)
        self._figures_at = -float("inf")

    def _send(self) -> None:
        if self._queue and not self._queue[0].sent:  # one at a time, so that the order holds
            first = self._queue[0]
            first.sent = True
            self._connection.publish(self._topic(first.leaf), payload.encoded(first.body), certainly=True, retain=True)
        now, reading = time.monotonic(), self._reading
        if (
            self._queue
            or reading is None
            or reading.state != "running"
            or now - self._figures_at < self._settings.every_s
        ):
            return  # while states wait, too: figures before them would seem to be theirs
        self._figures_at = now
        for leaf, body in (("health", payload.health(reading.samples)), ("counts", payload.counts(reading.samples))):
            self._connection.publish(self._topic(leaf), payload.encoded(body), certainly=False, retain=False)

    def _keep(self, leaf: str, body: dict[str, Any]) -> None:
        if len(self._queue) >= QUEUED:
            del self._queue[1 if self._queue[0].sent else 0]  # the oldest that is not on its way
            self._dropped += 1
        self._queue.append(Kept(leaf, body))

    def _acknowledged(self) -> None:
        """The broker has taken the first message of the queue."""
        if self._queue and self._queue[0].sent:
            self._queue.popleft()

    def _lose(self, why: str) -> None:
        if self._connection is not None:
            if self._connection.connected and time.monotonic() - self._came_at >= STEADY_S:
                self._failures = 0
            self._connection.abandon()
            self._connection = None
        for kept in self._queue:
            kept.sent = False
        self._failures += 1
        pause = pause_s(self._failures, random.random())
        self._try_at = time.monotonic() + pause
        if why != self._told:  # once, not at every attempt
            self._told = why
            self._say(f"{why} Tried again and again, at the latest every {BACK_OFF_S[1] / 60:g} minutes.")

    def _topic(self, leaf: str) -> str:
        return payload.topic(self._settings.site, self._unit, leaf)
