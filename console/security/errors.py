"""What the console answers instead of doing what was asked."""

from lib.errors import PressroomError


class NotSignedIn(PressroomError):  # noqa: N818 - the answer's own word
    """Nobody is signed in, or not any more."""


class Forbidden(PressroomError):  # noqa: N818 - the answer's own word
    """Whoever is signed in may not do this."""
