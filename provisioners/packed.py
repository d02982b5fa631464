"""`python provisioners/packed.py PACKAGE`: a Python package as one tar archive for nodes; says where it lies.

The same sources always make the same bytes (no time, names in order, all root's), so a role that unpacks
it changes a node only where the program differs.
"""

from __future__ import annotations

import io
import os
import sys
import tarfile
import tempfile
from pathlib import Path

FOLDER = "rackproof"
"""Where our programs lie below a node's /usr/local/lib."""


def archive(package: Path) -> bytes:
    """The modules of `package` as they lie below /usr/local/lib of a node."""
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w", format=tarfile.USTAR_FORMAT) as whole:
        for name in (FOLDER, f"{FOLDER}/{package.name}"):
            entry = _entry(name, 0o755)
            entry.type = tarfile.DIRTYPE
            whole.addfile(entry)
        for path in sorted(package.glob("*.py")):
            content = path.read_bytes()
            entry = _entry(f"{FOLDER}/{package.name}/{path.name}", 0o644)
            entry.size = len(content)
            whole.addfile(entry, io.BytesIO(content))
    return made.getvalue()


def _entry(name: str, mode: int) -> tarfile.TarInfo:
    entry = tarfile.TarInfo(name)
    entry.uname = entry.gname = "root"
    entry.mode = mode
    return entry


def main() -> None:
    """Ansible's own folder of temporary files is this user's alone, unlike /tmp."""
    package = Path(sys.argv[1])
    folder = Path(os.environ.get("ANSIBLE_LOCAL_TEMP", "~/.ansible/tmp")).expanduser()
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    place = folder / f"{package.name}.tar"
    with tempfile.NamedTemporaryFile(dir=folder, delete=False) as new:
        new.write(archive(package))
    Path(new.name).replace(place)
    sys.stdout.write(str(place))


if __name__ == "__main__":
    main()
