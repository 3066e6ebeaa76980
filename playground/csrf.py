"""The double-submit check of Django: a secret in a cookie, and masked anew in every form."""

import hmac
import secrets
import string

ALPHABET = string.ascii_letters + string.digits
SECRET_LENGTH = 32
COOKIE = "csrftoken"
FIELD = "csrfmiddlewaretoken"


def new_secret() -> str:
    return "".join(secrets.choice(ALPHABET) for _ in range(SECRET_LENGTH))


def is_secret(value: str) -> bool:
    return len(value) == SECRET_LENGTH and all(char in ALPHABET for char in value)


def mask(secret: str) -> str:
    """A token for a form: different each time, though the cookie stays the same."""
    salt = new_secret()
    return salt + _shift(secret, salt, 1)


def matches(secret: str, token: str) -> bool:
    """Whether a form's token, masked or plain, belongs to the cookie's secret."""
    if not is_secret(secret) or any(char not in ALPHABET for char in token):
        return False
    if len(token) == 2 * SECRET_LENGTH:
        token = _shift(token[SECRET_LENGTH:], token[:SECRET_LENGTH], -1)
    return hmac.compare_digest(secret, token)


def _shift(text: str, salt: str, sign: int) -> str:
    pairs = zip(text, salt, strict=True)
    return "".join(ALPHABET[(ALPHABET.index(char) + sign * ALPHABET.index(by)) % len(ALPHABET)] for char, by in pairs)
