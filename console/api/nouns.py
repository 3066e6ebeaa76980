"""The nouns of the API, in the order of its documentation."""

from console.api import (
    alerts,
    audit,
    comments,
    comparisons,
    failures,
    health,
    logins,
    overview,
    people,
    processes,
    providers,
    runs,
    templates,
    tokens,
)

API = (
    processes,
    comments,
    failures,
    logins,
    providers,
    templates,
    comparisons,
    runs,
    overview,
    people,
    tokens,
    audit,
    alerts,
    health,
)
