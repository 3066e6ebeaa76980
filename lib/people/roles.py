"""What a person may do: each role may do what the lower ones may, and so may each scope of an API token."""

from collections.abc import Iterable
from typing import Literal, get_args

from lib.errors import Invalid

Role = Literal["viewer", "operator", "admin"]
Scope = Literal["read", "write", "admin"]

ROLES: tuple[Role, ...] = get_args(Role)
SCOPES: tuple[Scope, ...] = get_args(Scope)


def at_least(role: Role, needed: Role) -> bool:
    return ROLES.index(role) >= ROLES.index(needed)


def role(text: str) -> Role:
    """Raise Invalid unless it is one."""
    for each in ROLES:
        if each == text:
            return each
    raise Invalid(f"A role is {_listed(ROLES)}, not “{text[:40]}”", field="role")


def scopes(texts: Iterable[str]) -> frozenset[Scope]:
    """The scopes with those that they include; raise Invalid for one that is none, or when there is none."""
    asked = set(texts)
    if unknown := sorted(asked - set(SCOPES)):
        raise Invalid(f"A scope is {_listed(SCOPES)}, not “{unknown[0][:40]}”", field="scopes")
    if not asked:
        raise Invalid(f"A token needs a scope: {_listed(SCOPES)}", field="scopes")
    highest = max(SCOPES.index(each) for each in SCOPES if each in asked)
    return frozenset(SCOPES[: highest + 1])


def scopes_of(role: Role) -> frozenset[Scope]:
    """What a token of somebody with this role may have at most."""
    return frozenset(SCOPES[: ROLES.index(role) + 1])


def capped(role: Role, scopes: Iterable[str]) -> Role | None:
    """The role that is left to a token: the lower one of its owner's and its scopes'; None without any scope."""
    held = [SCOPES.index(each) for each in SCOPES if each in set(scopes)]
    return ROLES[min(ROLES.index(role), max(held))] if held else None


def _listed(words: tuple[str, ...]) -> str:
    return f"{', '.join(words[:-1])} or {words[-1]}"
