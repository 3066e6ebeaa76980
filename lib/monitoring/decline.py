"""When a process can never work any more by itself: pure."""

from collections.abc import Sequence
from dataclasses import dataclass

# So long a refusal is no accident, and so long a switch no oversight: somebody has to do something.
HOPELESS_AFTER = 86_400.0


@dataclass(frozen=True)
class Part:
    """A login, template or provider of a process. `useless_for`: seconds since it was refused or switched off."""

    name: str
    useless_for: float | None = None

    @property
    def is_hopeless(self) -> bool:
        return self.useless_for is not None and self.useless_for > HOPELESS_AFTER


@dataclass(frozen=True)
class Means:
    """What a process needs to work. `providers`: the first and its fallback."""

    logins: Sequence[Part]
    templates: Sequence[Part]
    providers: Sequence[Part]


@dataclass(frozen=True)
class Decline:
    """`reason` is for `stop_reason`, at most 40 characters; `words` for a person."""

    reason: str
    words: str


def decline(means: Means) -> Decline | None:
    """Why it can never work any more; None as long as one login, one template and one provider may."""
    if all(login.is_hopeless for login in means.logins):
        return Decline("logins_refused", _words("login", means.logins, "refused or switched off for more than a day"))
    if all(template.is_hopeless for template in means.templates):
        return Decline("no_template", _words("template", means.templates, "switched off for more than a day"))
    if all(provider.is_hopeless for provider in means.providers):
        return Decline("no_provider", _words("provider", means.providers, "switched off for more than a day"))
    return None


def _words(kind: str, parts: Sequence[Part], why: str) -> str:
    if not parts:
        return f"The process has no {kind} left"
    named = ", ".join(f"“{part.name}”" for part in parts)
    return f"No {kind} of the process works any more: {named} {'was' if len(parts) == 1 else 'were'} {why}"
