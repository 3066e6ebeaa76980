"""What the console signs: sessions, form tokens, messages. The keys are derived from those that encrypt at rest."""

import base64
import hashlib
from typing import Any

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from itsdangerous import BadData, URLSafeSerializer
from itsdangerous import Signer as Signature

from lib.errors import Invalid

_HOW: dict[str, Any] = {"digest_method": hashlib.sha256, "key_derivation": "hmac"}


class Signer:
    """Signs with the newest key and accepts every one, so that a rotation of keys signs nobody out."""

    def __init__(self, encryption_keys: list[str]) -> None:
        """Newest first. Raise Invalid when there is none, or one that is no key."""
        if not encryption_keys:
            raise Invalid("No encryption key: run `pressroom keys generate` or set PRESSROOM_ENCRYPTION_KEYS")
        self._keys = [_derived(key) for key in reversed(encryption_keys)]

    def seal(self, purpose: str, value: Any) -> str:
        return str(URLSafeSerializer(self._keys, salt=purpose, signer_kwargs=_HOW).dumps(value))

    def open(self, purpose: str, text: str) -> Any:
        """None unless we sealed it for this purpose."""
        try:
            return URLSafeSerializer(self._keys, salt=purpose, signer_kwargs=_HOW).loads(text)
        except BadData:
            return None

    def mark(self, purpose: str, text: str) -> str:
        return Signature(self._keys, salt=purpose, **_HOW).get_signature(text).decode()

    def is_mark(self, purpose: str, text: str, mark: str) -> bool:
        return Signature(self._keys, salt=purpose, **_HOW).verify_signature(text, mark.encode("utf-8", "replace"))


def _derived(key: str) -> bytes:
    try:
        material = base64.urlsafe_b64decode(key)
    except ValueError as error:
        raise Invalid("An encryption key is not 32 url-safe base64-encoded bytes") from error
    return HKDF(algorithm=SHA256(), length=32, salt=None, info=b"pressroom console").derive(material)
