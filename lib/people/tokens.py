"""Secrets that we make and store only as a hash: API tokens, one-time links, session seeds."""

import hashlib
import secrets
from dataclasses import dataclass

PREFIX = "prs_"
SHOWN = 10  # characters by which an owner knows a token again
_BYTES = 32


@dataclass(frozen=True, repr=False)
class NewSecret:
    """The text is shown once; the hash is kept."""

    text: str
    hash: bytes


def new(prefix: str = "") -> NewSecret:
    text = prefix + secrets.token_urlsafe(_BYTES)
    return NewSecret(text, digest(text))


def digest(text: str) -> bytes:
    """A plain hash is enough: 256 random bits cannot be guessed, unlike a password."""
    return hashlib.sha256(text.encode("utf-8", "replace")).digest()
