"""An answer file that the installer takes, and a way to change one line of it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

ANSWER = """\
[global]
keyboard = "en-us"
country = "us"
fqdn = "node1.rack.example"
mailto = "ops@rack.example"
timezone = "UTC"
root-password-hashed = "$6$salt$hash"
root-ssh-keys = ["ssh-ed25519 AAAA harness"]
reboot-mode = "power-off"

[network]
source = "from-answer"
cidr = "10.6.0.11/24"
gateway = "10.6.0.1"
dns = "10.6.0.1"
filter.ID_NET_NAME_MAC = "*525400010000"

[network.interface-name-pinning]
enabled = true

[network.interface-name-pinning.mapping]
"52:54:00:01:00:00" = "nic0"
"52:54:00:01:00:01" = "nic1"

[disk-setup]
filesystem = "btrfs"
btrfs.raid = "raid1"
filter-match = "all"
filter.ID_SERIAL_SHORT = "BOOT1?"
filter.DEVNAME = "/dev/nvme*"

[first-boot]
source = "from-iso"
ordering = "before-network"
"""

Edit = Callable[..., Path]


@pytest.fixture
def edited(tmp_path: Path) -> Edit:
    """Write answer.toml with lines replaced: `edited(('old', 'new'), ...)`; each old one must be there."""

    def write(*changes: tuple[str, str]) -> Path:
        text = ANSWER
        for old, new in changes:
            assert old in text, f"the test changes {old!r}, which the sample lacks"
            text = text.replace(old, new)
        path = tmp_path / "answer.toml"
        path.write_text(text, encoding="utf-8")
        return path

    return write
