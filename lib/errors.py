"""The one vocabulary of failure. Clients translate to it at their edge; nothing above reads a status code."""


class PressroomError(Exception):
    """Something went wrong; the message says what, to which item, and what to do next."""


class Transient(PressroomError):  # noqa: N818 - the vocabulary's own word
    """Try later.

    `retry_after`: seconds that the other side asked for, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Permanent(PressroomError):  # noqa: N818 - the vocabulary's own word
    """Never retry: the same attempt would fail in the same way."""


class Refused(PressroomError):  # noqa: N818 - the vocabulary's own word
    """The other side does not accept our credentials or configuration: nothing is wrong with the item.

    The item waits, unharmed, and so does everything else that would use them.
    `retry_after`: seconds until it makes sense to look again, or None.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class OutcomeUnknown(PressroomError):  # noqa: N818 - the vocabulary's own word
    """The effect may have happened: read back before a second attempt.

    `retry_after`: of one that was sent before and only looked for now, the seconds until it is to be looked for again.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Invalid(PressroomError):  # noqa: N818 - the vocabulary's own word
    """What the caller gave cannot be used; the message names it.

    `field`: the name of the form field or of the member of a document that is wrong, or None.
    """

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class NotFound(Invalid):
    """There is no such thing; the message names it."""


class Conflict(Invalid):
    """It exists already, or its state does not allow this now."""


class Stale(Conflict):
    """It is not as the caller saw it; the message names it."""


class SessionHeldError(RuntimeError):
    """External I/O was begun while a database session is open: a defect in the calling code."""
