"""Sessions: a signed cookie (HMAC-SHA256, RFC 2104) that says who and since when; nothing is stored on disk.

It ends when nobody uses it, at its longest age, when somebody signs out, with a new PIN, and when the machine starts
again. Times are of a clock that runs on from the boot, whatever is done to the wall clock.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Literal, get_args

from device.store import boot_id

Role = Literal["watcher", "technician"]
ROLES = get_args(Role)
KNOWN = 256  # sessions of which is held when they were last used, or that they have ended
MAX_COOKIE = 512


@dataclass(frozen=True)
class Session:
    """id: random. began, used: seconds since boot; used: as the cookie has it."""

    id: str
    role: Role
    began: float
    used: float


class Sessions:
    """key: 32 bytes. idle_s, longest_s: when a session ends. clock: seconds since boot."""

    def __init__(
        self,
        key: bytes,
        idle_s: float,
        longest_s: float,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
        boot: str | None = None,
    ) -> None:
        self._boot = (boot or boot_id() or "").encode()
        self.idle_s, self.longest_s, self._clock = idle_s, longest_s, clock
        self._used: OrderedDict[str, float] = OrderedDict()
        self._ended: OrderedDict[str, float] = OrderedDict()
        self.renew(key)

    def renew(self, key: bytes) -> None:
        """Take another key: every session ends."""
        self._key = hmac.digest(key, b"busi-kd session " + self._boot, "sha256")

    def begin(self, role: Role) -> Session:
        """A new session."""
        now = self._clock()
        session = Session(secrets.token_urlsafe(16), role, now, now)
        self.use(session)
        return session

    def cookie(self, session: Session) -> str:
        """The text that `read` takes, with the time it was last used."""
        said = asdict(session) | {"used": self._used.get(session.id, session.used)}
        text = base64.urlsafe_b64encode(json.dumps(said).encode()).rstrip(b"=")
        return f"{text.decode()}.{self._signature(b'cookie ' + text)}"

    def read(self, cookie: str | None) -> Session | None:
        """The session of a cookie; None of one that is none, was altered, or has ended."""
        if not cookie or len(cookie) > MAX_COOKIE or not cookie.isascii():
            return None
        text, _, signature = cookie.partition(".")
        if not hmac.compare_digest(self._signature(b"cookie " + text.encode()), signature):
            return None
        session = Session(**json.loads(base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))))  # it is our own
        return session if self.lives(session) else None

    def lives(self, session: Session) -> bool:
        """Whether it has not ended."""
        now = self._clock()
        used = max(session.used, self._used.get(session.id, session.used))
        over = now - session.began > self.longest_s or now - used > self.idle_s
        return not over and session.id not in self._ended

    def use(self, session: Session) -> None:
        """Somebody uses it now."""
        _put(self._used, session.id, self._clock())

    def end(self, session: Session) -> None:
        """Somebody signs out."""
        _put(self._ended, session.id, self._clock())

    def csrf(self, session: Session) -> str:
        """What a request that changes something must carry (OWASP, signed double submit)."""
        return self._signature(b"csrf " + session.id.encode())

    def age_s(self, session: Session) -> float:
        """Since its cookie was told."""
        return self._clock() - session.used

    def left_s(self, session: Session) -> float:
        """Until its longest age."""
        return max(0.0, session.began + self.longest_s - self._clock())

    def _signature(self, text: bytes) -> str:
        digest = hmac.digest(self._key, text, hashlib.sha256)
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _put(table: OrderedDict[str, float], name: str, value: float) -> None:
    table[name] = value
    table.move_to_end(name)
    while len(table) > KNOWN:
        table.popitem(last=False)
