"""`python provisioners/packed.py PACKAGE [FILE=PLACE ...]`: a Python package and files beside it as one tar
archive for a node's `/`; says where it lies.

The same sources always make the same bytes (no time, names in order, all root's), so a role that unpacks
it changes a node only where the program differs.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from collections.abc import Mapping
from pathlib import Path

FOLDER = "usr/local/lib/rackproof"
"""Where our programs lie on a node."""
SETTINGS = "etc/rackproof"


def archive(package: Path, files: Mapping[str, Path]) -> bytes:
    """The modules of `package` below FOLDER, and `files` by the place that each has on a node. Of folders it
    brings only our own: a system's keep the modes that they have.
    """
    modules = {f"{FOLDER}/{package.name}/{path.name}": path for path in sorted(package.glob("*.py"))}
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as whole:
        for name in (FOLDER, f"{FOLDER}/{package.name}", SETTINGS):
            entry = _entry(name, 0o755)
            entry.type = tarfile.DIRTYPE
            whole.addfile(entry)
        for name, path in {**modules, **files}.items():
            content = path.read_bytes()
            entry = _entry(name.lstrip("/"), 0o644)
            entry.size = len(content)
            whole.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.uname = entry.gname = "root"
    entry.mode = mode
    entry.mtime = 1  # always the same; systemd takes 0 for none and calls such a unit changed for ever
    return entry


def main() -> None:
    """Ansible's own folder of temporary files is this user's alone, unlike /tmp."""
    package = Path(sys.argv[1])
    files = {place: Path(file) for file, _, place in (pair.partition("=") for pair in sys.argv[2:])}
    folder = Path(os.environ.get("ANSIBLE_LOCAL_TEMP", "~/.ansible/tmp")).expanduser()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = folder / f"{package.name}.tar"
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as new:
        new.write(archive(package, files))
    Path(new.name).replace(place)
    sys.stdout.write(str(place))


if __name__ == "__main__":
    main()
