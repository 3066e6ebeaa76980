"""The nouns of the API, in the order of its documentation."""

from console.api import (
    alerts,
    audit,
    comments,
    comparisons,
    failures,
    health,
    logins,
    monitoring,
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
    monitoring,
    overview,
    people,
    tokens,
    audit,
    alerts,
    health,
)
