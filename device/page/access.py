"""Who asks, and may they? Host, origin, session, role and CSRF of each request, before anything else sees it.

Host: against DNS rebinding, only names that can be this machine. Origin: of whatever changes something and of
WebSockets, the same as Host. OWASP: Session Management and CSRF Prevention Cheat Sheets.
"""

import asyncio
import ipaddress
import re
import secrets
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from aiohttp import web

from device.page import pin
from device.page.lockout import Lockout
from device.page.refuse import Refusal
from device.page.sessions import ROLES, Role, Session, Sessions

COOKIE = "busi-kd-session"
PAIRING_S = 120.0
PAIRING_TRIES = 5
REFRESH_S = 60.0  # a cookie is told anew when it is as old
_HOST = re.compile(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]{1,253})(?::[0-9]{1,5})?")
_CHANGING = ("POST", "PUT", "DELETE", "PATCH")


@dataclass
class _Pairing:
    pin: str
    until: float
    tries: int = 0


class Access:
    """The PIN, sessions, lock-out and pairing of one page. clock: seconds, never going back."""

    def __init__(
        self,
        folder: Path,
        idle_s: float,
        longest_s: float,
        local_without_pin: bool = False,
        clock: Callable[[], float] = lambda: time.clock_gettime(time.CLOCK_BOOTTIME),
    ) -> None:
        """Raises UserError when the file of the PIN is damaged."""
        self._folder, self._clock, self.local_without_pin = folder, clock, local_without_pin
        self._stored = pin.load(folder)
        self.sessions = Sessions(self._stored.key, idle_s, longest_s, clock)
        self.lockout = Lockout(clock)
        self._pairing: _Pairing | None = None
        self._hashing = asyncio.Lock()  # one at a time: each takes 16 MiB

    @property
    def pin_set(self) -> bool:
        """Whether there is a PIN."""
        return self._stored.hash is not None

    async def sign_in(self, given: object, role: object, address: str | None) -> Session:
        """A session for the PIN or a pairing PIN; on the device's own screen without one, where that is allowed.

        address: of who asks, None of the own screen. Raises Refusal.
        """
        if role not in ROLES:
            raise Refusal(400, "role", "role is technician or watcher.")
        if given is None and address is None and self.local_without_pin:
            return self.sessions.begin(role)
        if not isinstance(given, str) or not 1 <= len(given) <= 64:
            raise Refusal(400, "pin", "Give the PIN as digits.")
        left = self._try(address)
        if not self._pairs(given) and not await self._right(given):
            locked = self.lockout.locked_s(address)
            raise Refusal(403, "wrong", "That PIN is wrong.", left=left, locked_s=locked or None)
        self.lockout.right(address)
        return self.sessions.begin(role)

    async def set_first(self, new: object, address: str | None) -> Session:
        """Set the PIN where there is none, from the device's own screen alone. Raises Refusal and UserError."""
        if address is not None:
            raise Refusal(403, "local", "The first PIN is set on the device's own screen.")
        if self.pin_set:
            raise Refusal(409, "set", "A PIN is set already; change it with the old one.")
        await self._store(new)
        return self.sessions.begin("technician")

    async def change(self, old: object, new: object, address: str | None) -> Session:
        """Set another PIN; all sessions end, and a new one begins. Raises Refusal and UserError."""
        pin.check_form(new)
        if not isinstance(old, str) or not 1 <= len(old) <= 64:
            raise Refusal(400, "pin", "Give the old PIN as digits.")
        left = self._try(address)
        if not await self._right(old):
            raise Refusal(403, "wrong", "The old PIN is wrong.", left=left)
        self.lockout.right(address)
        await self._store(new)
        return self.sessions.begin("technician")

    def pairing(self) -> tuple[str, float]:
        """A PIN of six digits that signs one person in, and for how many seconds; the one before ends."""
        self._pairing = _Pairing(f"{secrets.randbelow(10**6):06d}", self._clock() + PAIRING_S)
        return self._pairing.pin, PAIRING_S

    def _try(self, address: str | None) -> int:
        locked = self.lockout.locked_s(address)
        if locked > 0:
            raise Refusal(429, "locked", "Too many wrong PINs; wait and try again.", locked_s=locked)
        return self.lockout.tried(address)

    def _pairs(self, given: str) -> bool:
        pairing = self._pairing
        if pairing is None:
            return False
        good = secrets.compare_digest(given.encode(), pairing.pin.encode()) and self._clock() < pairing.until
        pairing.tries += 1
        if good or pairing.tries >= PAIRING_TRIES or self._clock() >= pairing.until:
            self._pairing = None
        return good

    async def _right(self, given: str) -> bool:
        async with self._hashing:
            return await asyncio.get_running_loop().run_in_executor(None, pin.right, self._stored, given)

    async def _store(self, new: object) -> None:
        pin.check_form(new)
        async with self._hashing:
            self._stored = await asyncio.get_running_loop().run_in_executor(None, pin.store, self._folder, new)
        self._pairing = None
        self.sessions.renew(self._stored.key)


def address_of(request: web.Request) -> str | None:
    """The other side; None of this machine itself. Raises Refusal for one outside of its networks. IPv6 addresses count
    as their /64, of which each host has as many as it likes."""
    peer = request.transport.get_extra_info("peername") if request.transport else None
    return counted_as(str(peer[0]) if peer else "")


def counted_as(text: str) -> str | None:
    """An IP address as text -> the name under which its tries are counted; else as `address_of`."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError as error:
        raise Refusal(403, "address", "It is not known who asks.") from error
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_loopback:
        return None
    if not (address.is_private or address.is_link_local):
        raise Refusal(403, "address", "The page is for the device's own networks.")
    if address.version == 6:
        return str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def check_host(request: web.Request, names: frozenset[str]) -> None:
    """Raises Refusal unless Host is an address or a name of this machine. names: in lower case."""
    hosts = request.headers.getall("Host", [])
    match = _HOST.fullmatch(hosts[0]) if len(hosts) == 1 else None
    name = "" if match is None else match[1].strip("[]").lower().rstrip(".")
    try:
        address = ipaddress.ip_address(name)
        good = address.is_loopback or address.is_private or address.is_link_local
    except ValueError:
        good = name in names
    if not good:
        raise Refusal(421, "host", "That is not a name of this device; open the page by its address.")


def own_names() -> frozenset[str]:
    """What this machine may be called in a browser."""
    name = socket.gethostname().lower().partition(".")[0]
    return frozenset({"localhost", name, f"{name}.local", f"{name}.lan", f"{name}.home.arpa", "busi-kd.local"})


def check_origin(request: web.Request, must: bool) -> None:
    """Raises Refusal for a request that another site's page makes. must: without an Origin, too."""
    origin, site = request.headers.get("Origin"), request.headers.get("Sec-Fetch-Site")
    if site not in (None, "same-origin", "none") and (must or request.path.startswith("/api/")):
        raise Refusal(403, "origin", "Another site may not ask this.")
    if origin is None and not must:
        return
    if origin is None or origin.partition("://")[2] != request.headers.get("Host"):
        raise Refusal(403, "origin", "Another site may not ask this.")


def check_session(request: web.Request, access: Access, role: Role) -> Session:
    """The session that asks. Raises Refusal without one, for a watcher where a technician is wanted, and without the
    CSRF token where something is changed."""
    session = access.sessions.read(request.cookies.get(COOKIE))
    if session is None:
        raise Refusal(401, "session", "Sign in with the PIN first.")
    if role == "technician" and session.role != "technician":
        raise Refusal(403, "role", "A watcher may only look; sign in as technician.")
    if request.method in _CHANGING:
        check_csrf(request, access, session)
    return session


def check_csrf(request: web.Request, access: Access, session: Session) -> None:
    """Raises Refusal unless the request carries its session's token."""
    given = request.headers.get("X-CSRF", "")
    if not given.isascii() or not secrets.compare_digest(given, access.sessions.csrf(session)):
        raise Refusal(403, "csrf", "The page is out of date; load it again.")


def set_cookie(response: web.StreamResponse, access: Access, session: Session) -> None:
    """Hand the session's cookie out, or hand it out anew."""
    age = int(min(access.sessions.left_s(session), access.sessions.idle_s)) + 1
    value = access.sessions.cookie(session)
    response.set_cookie(COOKIE, value, max_age=age, path="/", httponly=True, samesite="Strict")
