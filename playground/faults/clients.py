"""The processes that a fault may kill: none but those that someone named."""

import os

import psutil

from playground.faults.fault import Fault, NotAFaultError


class Clients:
    """Named clients, held so that a reused process id is never hit."""

    def __init__(self) -> None:
        self._named: dict[int, psutil.Process] = {}
        self._told: int | None = None

    def tell(self, pid: object) -> None:
        """The client that is killed when a fault names no other."""
        self._told = self.allow(pid)

    def allow(self, pid: object) -> int:
        if type(pid) is not int or pid <= 1 or pid == os.getpid():
            raise NotAFaultError("pid must be that of another process, and not 1")
        try:
            process = psutil.Process(pid)
            owner = process.uids().real
        except psutil.Error as error:
            raise NotAFaultError(f"there is no process {pid}") from error
        if owner != os.getuid():
            raise NotAFaultError(f"process {pid} belongs to another user")
        self._named[pid] = process
        return pid

    def is_ready(self, fault: Fault, client_port: int | None) -> bool:
        """Whether a fault can be carried out: one that kills waits for a living client."""
        if fault.kind != "kill_client":
            return True
        process = self._process(fault)
        if process is None:
            return False
        return not fault.own_requests or _holds_port(process, client_port)

    def kill(self, fault: Fault) -> None:
        process = self._process(fault)
        if process is not None:
            process.kill()

    def _process(self, fault: Fault) -> psutil.Process | None:
        process = self._named.get(fault.pid or self._told or 0)
        try:
            alive = process is not None and process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return None
        return process if alive else None


def _holds_port(process: psutil.Process, port: int | None) -> bool:
    try:
        return any(connection.laddr and connection.laddr.port == port for connection in process.net_connections("tcp"))
    except psutil.Error:
        return False
