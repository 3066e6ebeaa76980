"""The names that people sign in with, and those they give to tokens: one line, without anything that nobody sees."""

import re
import unicodedata

from lib.errors import Invalid

LONGEST = 100
_ID = re.compile(r"(urn:uuid:)?\{?[0-9a-f]{8}(-?[0-9a-f]{4}){3}-?[0-9a-f]{12}\}?", re.IGNORECASE)
# Control characters, invisible and direction-changing ones, halves of a character, unassigned and private ones.
_UNSEEN = ("Cc", "Cf", "Cs", "Cn", "Co", "Zl", "Zp")


def clean(text: str, what: str = "The name", field: str = "name") -> str:
    """Normalised; raise Invalid, naming what is wrong."""
    if len(text) > 10 * LONGEST:  # before any work is done on it
        raise Invalid(f"{what} has {len(text)} characters; at most {LONGEST} are possible", field=field)
    for char in text:
        if unicodedata.category(char) in _UNSEEN:
            raise Invalid(f"{what} holds the character U+{ord(char):04X}, which nobody can see", field=field)
    name = " ".join(unicodedata.normalize("NFC", text).split())
    if not name:
        raise Invalid(f"{what} is empty", field=field)
    if _ID.fullmatch(name):
        raise Invalid(f"{what} may not look like an id, as “{name}” does", field=field)
    if len(name) > LONGEST:
        raise Invalid(f"{what} has {len(name)} characters; at most {LONGEST} are possible", field=field)
    return name
