"""Secrets at rest: Fernet, with as many keys as a rotation needs."""

import os
from pathlib import Path

from cryptography.fernet import Fernet, InvalidToken, MultiFernet

from lib.errors import Invalid, Refused
from lib.settings import Settings


class Vault:
    """Encrypts with the first key, decrypts with any. Keys are url-safe base64 of 32 bytes."""

    def __init__(self, keys: list[str]) -> None:
        if not keys:
            raise Invalid("No encryption key: run `pressroom keys generate` or set PRESSROOM_ENCRYPTION_KEYS")
        try:
            self._fernet = MultiFernet([Fernet(key) for key in keys])
        except ValueError as error:
            raise Invalid("An encryption key is not 32 url-safe base64-encoded bytes") from error

    def encrypt(self, text: str) -> bytes:
        return self._fernet.encrypt(text.encode())

    def decrypt(self, token: bytes) -> str:
        """Raise Refused when no key of ours made the token."""
        try:
            return self._fernet.decrypt(token).decode()
        except InvalidToken as error:
            raise Refused("A stored secret does not open with the present encryption keys") from error

    def rotate(self, token: bytes) -> bytes:
        """The same secret under the first key."""
        try:
            return self._fernet.rotate(token)
        except InvalidToken as error:
            raise Refused("A stored secret does not open with the present encryption keys") from error


def key_file(settings: Settings) -> Path:
    return settings.data_dir / "encryption.keys"


def read_keys(settings: Settings) -> list[str]:
    """From PRESSROOM_ENCRYPTION_KEYS (comma separated), else from the key file; newest first."""
    if settings.encryption_keys is not None:
        return [key.strip() for key in settings.encryption_keys.get_secret_value().split(",") if key.strip()]
    file = key_file(settings)
    return file.read_text().split() if file.exists() else []


def write_keys(settings: Settings, keys: list[str]) -> Path:
    """Replace the key file at once and for the owner only."""
    file = key_file(settings)
    file.parent.mkdir(parents=True, exist_ok=True)
    draft = file.with_suffix(".new")
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as out:
        out.write("\n".join(keys) + "\n")
        out.flush()
        os.fsync(out.fileno())
    draft.replace(file)
    return file


def new_key() -> str:
    return Fernet.generate_key().decode()


def open_vault(settings: Settings) -> Vault:
    return Vault(read_keys(settings))
