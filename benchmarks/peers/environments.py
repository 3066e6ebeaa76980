"""An environment of its own for each peer, from its hash-locked requirements; made when it is first needed."""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PEERS = Path(__file__).parent
ENVIRONMENTS = ROOT / ".bench"


def programs_of(peer: str) -> Path:
    """The folder of the environment's programs; it is made anew when the lock has changed."""
    place, lock = ENVIRONMENTS / peer, PEERS / peer / "requirements.txt"
    mark, wanted = place / "installed", hashlib.sha256(lock.read_bytes()).hexdigest()
    if not mark.exists() or mark.read_text() != wanted:
        shutil.rmtree(place, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", str(place)], check=True)
        pip = (str(place / "bin/python"), "-m", "pip", "--disable-pip-version-check", "--quiet", "install")
        subprocess.run([*pip, "--require-hashes", "--no-deps", "-r", str(lock)], check=True)
        mark.write_text(wanted)
    return place / "bin"


def settings_of(redis_url: str, database_url: str, beat: float) -> dict[str, str]:
    """What a peer's programs need: where the product's `lib` and its own package are, its servers, and its beat."""
    return {
        "PYTHONPATH": os.pathsep.join((str(ROOT), str(PEERS))),
        "PEER_REDIS_URL": redis_url,
        "PEER_BEAT_SECONDS": str(beat),
        "PRESSROOM_DATABASE_URL": database_url,
    }


def versions_of(peer: str, *packages: str) -> Mapping[str, str]:
    """Of some packages, as they are locked."""
    locked = dict(
        line.split(" ")[0].split("==")
        for line in (PEERS / peer / "requirements.txt").read_text().splitlines()
        if "==" in line.split(" ")[0]
    )
    return {name: locked[name] for name in packages}
