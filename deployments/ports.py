"""The ports that a start needs, looked at before anything is started."""

import socket
from contextlib import suppress

import psutil

from lib.settings import Settings

HOST = "127.0.0.1"


class PortTakenError(Exception):
    """Somebody else listens where we would."""


def needed(settings: Settings, *, own_server: bool, playground: bool) -> dict[str, int]:
    """Name of the setting and port, of what will be started."""
    found = {"console_port": settings.console_port}
    if own_server:
        found["prefect_port"] = settings.prefect_port
    if playground:
        found["playground_port"] = settings.playground_port
    return found


def check(ports: dict[str, int]) -> None:
    """Raise PortTakenError, naming the setting that chooses another."""
    seen: dict[int, str] = {}
    for name, port in ports.items():
        variable = f"PRESSROOM_{name.upper()}"
        if port in seen:
            raise PortTakenError(f"{seen[port]} and {variable} are both {port}; each needs a port of its own")
        if not _is_free(port):
            raise PortTakenError(f"Port {port} is taken{_by_whom(port)}; set {variable} to another")
        seen[port] = variable


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
        return True


def _by_whom(port: int) -> str:
    """Where the system tells us."""
    with suppress(psutil.Error):
        for connection in psutil.net_connections("tcp"):
            if connection.laddr and connection.laddr.port == port and connection.status == psutil.CONN_LISTEN:
                return f" by process {connection.pid}" if connection.pid else ""
    return ""
