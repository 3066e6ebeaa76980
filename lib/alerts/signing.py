"""Signatures after Standard Webhooks (https://www.standardwebhooks.com), symmetric scheme v1."""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Sequence

from lib.errors import Invalid

PREFIX = "whsec_"
SHORTEST, LONGEST = 24, 64  # bytes, as the standard recommends


def read_secrets(text: str) -> tuple[bytes, ...]:
    """The keys in a comma-separated list, newest first. Raises Invalid that never repeats what was given."""
    keys = tuple(_read_secret(part.strip()) for part in text.split(",") if part.strip())
    if not keys:
        raise Invalid("PRESSROOM_ALERT_WEBHOOK_SECRET is empty")
    return keys


def _read_secret(text: str) -> bytes:
    try:
        key = base64.b64decode(text.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("PRESSROOM_ALERT_WEBHOOK_SECRET is not whsec_ followed by base64") from None
    if not text.startswith(PREFIX) or not SHORTEST <= len(key) <= LONGEST:
        raise Invalid(f"PRESSROOM_ALERT_WEBHOOK_SECRET must be whsec_ and the base64 of {SHORTEST} to {LONGEST} bytes")
    return key


def signature(key: bytes, message_id: str, timestamp: int, body: bytes) -> str:
    signed = f"{message_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()


def headers(keys: Sequence[bytes], message_id: str, timestamp: int, body: bytes) -> dict[str, str]:
    """`timestamp`: seconds since the epoch, of this attempt. One signature a key, so that a receiver may hold any."""
    return {
        "content-type": "application/json",
        "webhook-id": message_id,
        "webhook-timestamp": str(timestamp),
        "webhook-signature": " ".join(signature(key, message_id, timestamp, body) for key in keys),
    }
