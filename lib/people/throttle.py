"""How long the next attempt to sign in has to wait: longer after each failure, and never for good."""

import hashlib
import ipaddress
import unicodedata
from dataclasses import dataclass

from lib.errors import PressroomError


class Throttled(PressroomError):  # noqa: N818 - the answer's own word
    """Too many failed attempts to sign in. `retry_after`: seconds until the next is heard."""

    def __init__(self, message: str, retry_after: float) -> None:
        super().__init__(message)
        self.retry_after = retry_after


@dataclass(frozen=True)
class Limit:
    """So many failures are free; from then on the wait doubles from `first` to `longest`, in seconds."""

    free: int
    longest: float
    first: float = 1


# A person mistypes; behind one address there may be a whole school.
ACCOUNT = Limit(free=5, longest=300)
ADDRESS = Limit(free=30, longest=1800)
FORGOTTEN_AFTER = 86_400.0
_LARGEST_POWER = 20


def wait_after(failures: int, limit: Limit) -> float:
    """Seconds."""
    if failures < limit.free:
        return 0
    return min(limit.first * 2.0 ** min(failures - limit.free, _LARGEST_POWER), limit.longest)


def account_key(name: str) -> bytes:
    """Also of a name that nobody has: who asks must not learn the difference."""
    return _hash(unicodedata.normalize("NFC", name.strip()).casefold())


def address_key(address: str) -> bytes:
    """A customer of a network gets a whole /64 of IPv6, so that counts as one."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return _hash(address)
    if isinstance(parsed, ipaddress.IPv6Address):
        if parsed.ipv4_mapped is not None:
            return _hash(str(parsed.ipv4_mapped))
        return _hash(str(ipaddress.ip_network((parsed, 64), strict=False)))
    return _hash(str(parsed))


def _hash(text: str) -> bytes:
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
