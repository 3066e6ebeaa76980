"""What people may type: names, words, prompts, secrets, addresses. Each check returns the clean text, or raises."""

import unicodedata
from urllib.parse import urlsplit

from lib.errors import Invalid

NAME_CHARS = 100
WORD_CHARS = 200
SECRET_CHARS = 1000
PROMPT_CHARS = 100_000
URL_CHARS = 500

# Control characters, invisible and direction-changing ones, halves of a character, line and paragraph separators.
_UNSEEN = ("Cc", "Cf", "Cs", "Zl", "Zp")
_ALLOWED = {"\u200d"}  # joins two emoji into one
_TEXT_BREAKS = {"\n", "\r", "\t"}


def name(text: str, what: str, longest: int = NAME_CHARS) -> str:
    """One line that people read and type, without invisible characters."""
    return _line(text, what, longest)


def word(text: str | None, what: str, longest: int = WORD_CHARS) -> str | None:
    """A filter or None; an empty one is none."""
    return None if text is None or not text.strip() else _line(text, what, longest)


def number_id(text: str | None, what: str) -> str | None:
    """An id of the site, such as a category's; empty is none."""
    clean = word(text, what)
    if clean is not None and not (clean.isascii() and clean.isdigit()):
        raise Invalid(f"{what} must be a number, as the site's address shows it, not “{clean}”")
    return clean


def secret(text: str, what: str) -> str:
    """A password or key. Never named in the error."""
    if not text:
        raise Invalid(f"{what} is empty")
    if len(text) > SECRET_CHARS:
        raise Invalid(f"{what} is longer than {SECRET_CHARS} characters")
    if any(unicodedata.category(char) in ("Cc", "Cs") for char in text):
        raise Invalid(f"{what} holds a control character or a line break")
    return text


def prompt(text: str, what: str) -> str:
    """A prompt of several lines."""
    if not text.strip():
        raise Invalid(f"{what} is empty")
    if len(text) > PROMPT_CHARS:
        raise Invalid(f"{what} has {len(text):,} characters; at most {PROMPT_CHARS:,} are possible")
    for place, char in enumerate(text):
        if unicodedata.category(char) in ("Cc", "Cs") and char not in _TEXT_BREAKS:
            raise Invalid(f"{what} holds the control character {_code(char)} at position {place}")
    return text


def endpoint(text: str) -> str:
    """The base URL of a model's API, such as https://api.example.com/v1."""
    clean = _line(text, "The base URL", URL_CHARS)
    try:
        parts = urlsplit(clean)
        port = parts.port
    except ValueError as error:
        raise Invalid(f"“{clean}” is not an address: {error}") from error
    wrong = None
    if parts.scheme not in ("http", "https"):
        wrong = "it must begin with http:// or https://"
    elif not parts.hostname or " " in clean:
        wrong = "it names no host"
    elif parts.username is not None or parts.password is not None:
        raise Invalid("The base URL may not hold a username or password; the key goes in by --key-stdin or a prompt")
    elif parts.query or parts.fragment:
        wrong = "it may not hold a query or a fragment"
    elif port == 0:
        wrong = "there is no port 0"
    if wrong:
        raise Invalid(f"“{clean}” cannot be a base URL: {wrong}")
    return clean.rstrip("/")


def _line(text: str, what: str, longest: int) -> str:
    clean = unicodedata.normalize("NFC", text.strip(" "))
    for char in clean:
        if unicodedata.category(char) in _UNSEEN and char not in _ALLOWED:
            raise Invalid(f"{what} holds the character {_code(char)}, which nobody can see")
    if not clean:
        raise Invalid(f"{what} is empty")
    if len(clean) > longest:
        raise Invalid(f"{what} has {len(clean)} characters; at most {longest} are possible")
    return clean


def _code(char: str) -> str:
    return f"U+{ord(char):04X}"
