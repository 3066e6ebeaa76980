"""The secret by which Prefect's server, which cannot sign, proves to the console that a report is ours."""

import hmac
import os
import secrets
import tempfile
from contextlib import suppress
from pathlib import Path

from lib.errors import Invalid
from lib.settings import Settings

PATH = "/api/v1/alerts/relay"
MAX_BODY = 65_536
_SHORTEST = 20
_EVERYWHERE = ("0.0.0.0", "::")  # noqa: S104 - compared, not bound


def relay_url(settings: Settings) -> str:
    """Where Prefect's server reaches the console: on the same machine, unless PRESSROOM_ALERT_RELAY_URL says where."""
    if settings.alert_relay_url:
        return settings.alert_relay_url.rstrip("/") + PATH
    scheme = "http" if settings.console_tls_certificate is None else "https"
    host = "127.0.0.1" if settings.console_host in _EVERYWHERE else settings.console_host
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{settings.console_port}{PATH}"


def relay_secret(settings: Settings) -> str:
    """From PRESSROOM_ALERT_RELAY_SECRET, else from its file, which is made once and for the owner only.

    Raises Invalid when what is there is too short to be one.
    """
    if settings.alert_relay_secret is not None:
        return _checked(settings.alert_relay_secret.get_secret_value(), "PRESSROOM_ALERT_RELAY_SECRET")
    file = settings.data_dir.expanduser() / "alert-relay.secret"
    if not file.exists():
        _make(file)
    return _checked(file.read_text().strip(), str(file))


def is_ours(settings: Settings, authorization: str | None) -> bool:
    """Whether an Authorization header bears the secret, compared in constant time."""
    expected = f"Bearer {relay_secret(settings)}".encode()
    return hmac.compare_digest((authorization or "").encode(), expected)


def _checked(secret: str, where: str) -> str:
    if len(secret) < _SHORTEST:
        raise Invalid(f"{where} is shorter than {_SHORTEST} characters")
    return secret


def _make(file: Path) -> None:
    """Two that make it at the same time end up with the same one: the first."""
    file.parent.mkdir(parents=True, exist_ok=True)
    number, draft = tempfile.mkstemp(dir=file.parent, prefix=file.name)  # readable by the owner alone
    with os.fdopen(number, "w") as out:
        out.write(secrets.token_urlsafe(32) + "\n")
        out.flush()
        os.fsync(out.fileno())
    with suppress(FileExistsError):
        os.link(draft, file)
    Path(draft).unlink()
