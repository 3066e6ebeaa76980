"""Whether there is a Prefect server to work with, before Prefect itself is imported."""

import os

from lib.errors import Invalid, Transient

VARIABLE = "PREFECT_API_URL"


def need_prefect() -> str:
    """The API's address. Raise Invalid when it is not set, Transient when nothing answers there."""
    import httpx  # noqa: PLC0415 - quick start

    url = os.environ.get(VARIABLE)
    if not url:
        raise Invalid(f"there is no Prefect server; start `pressroom up`, or set {VARIABLE} to one that runs")
    try:
        httpx.get(f"{url.rstrip('/')}/health", timeout=5, trust_env=False).raise_for_status()
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        words = f"Prefect's API at {url} does not answer ({error})"
        raise Transient(f"{words}; start `pressroom up`, or set {VARIABLE} to a server that runs") from error
    return url
