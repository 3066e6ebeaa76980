"""Where the console listens: on this machine, or wider only with TLS or behind a proxy that has it."""

import ipaddress
from typing import Any

from lib.errors import Invalid
from lib.settings import Settings

SOCKET_BYTES = 4096  # of a message to us: there is nothing to say
GRACE = 8  # seconds; who does not read what they were sent would hold up the end for good
_LOCAL = ("localhost", "127.0.0.1", "::1")


def is_local(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def check(settings: Settings) -> None:
    """Raise Invalid for an address that others reach while nothing keeps what they send from being read."""
    half = (settings.console_tls_certificate is None) != (settings.console_tls_key is None)
    if half:
        raise Invalid("PRESSROOM_CONSOLE_TLS_CERTIFICATE and PRESSROOM_CONSOLE_TLS_KEY belong together; one is missing")
    for file in (settings.console_tls_certificate, settings.console_tls_key):
        if file is not None and not file.is_file():
            raise Invalid(f"There is no file {file}, which PRESSROOM_CONSOLE_TLS_… names")
    proxies = _listed(settings.console_trusted_proxies)
    for proxy in proxies:
        _check_proxy(proxy)
    if not is_local(settings.console_host) and settings.console_tls_certificate is None and not proxies:
        raise Invalid(
            f"PRESSROOM_CONSOLE_HOST is {settings.console_host}, which others reach, but passwords would go there in "
            "the clear: set PRESSROOM_CONSOLE_TLS_CERTIFICATE and PRESSROOM_CONSOLE_TLS_KEY, or name the proxy that "
            "speaks TLS in PRESSROOM_CONSOLE_TRUSTED_PROXIES"
        )


def _check_proxy(proxy: str) -> None:
    """Everybody is no proxy: whoever asks could claim any address."""
    try:
        network = ipaddress.ip_network(proxy, strict=False)
    except ValueError as error:
        raise Invalid(f"PRESSROOM_CONSOLE_TRUSTED_PROXIES: “{proxy}” is neither an address nor a network") from error
    if network.prefixlen == 0:
        raise Invalid(f"PRESSROOM_CONSOLE_TRUSTED_PROXIES: “{proxy}” is everybody; name the proxy's address")


def allowed_hosts(settings: Settings) -> list[str]:
    """The names by which we are asked for: another site that points its own name at us is not one of them."""
    given = _listed(settings.console_allowed_hosts)
    bound = [settings.console_host] if settings.console_host not in ("0.0.0.0", "::") else []  # noqa: S104 - compared
    return [*(_bracketed(host) for host in (*_LOCAL, *bound)), *given]


def _bracketed(host: str) -> str:
    """As a Host header has it."""
    return f"[{host}]" if ":" in host and not host.startswith("[") else host


def uvicorn_options(settings: Settings) -> dict[str, Any]:
    """How it is served. Raise Invalid as `check` does."""
    check(settings)
    proxies = _listed(settings.console_trusted_proxies)
    options: dict[str, Any] = {
        "host": settings.console_host,
        "port": settings.console_port,
        "log_level": "warning",
        "access_log": False,  # an address may hold a one-time token
        "server_header": False,
        "proxy_headers": bool(proxies),
        "forwarded_allow_ips": proxies,
        "ws_max_size": SOCKET_BYTES,
        "ws_per_message_deflate": False,  # an event is made into bytes once, for everybody
        "timeout_graceful_shutdown": GRACE,
    }
    if settings.console_tls_certificate is not None:
        options["ssl_certfile"] = str(settings.console_tls_certificate)
        options["ssl_keyfile"] = str(settings.console_tls_key)
    return options


def _listed(text: str) -> list[str]:
    return [each.strip() for each in text.split(",") if each.strip()]
