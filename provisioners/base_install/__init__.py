"""Phase 1: every server becomes a node, unattended, over its management controller or from a USB stick."""

from provisioners.base_install.phase import PHASE, BaseInstall

__all__ = ["PHASE", "BaseInstall"]
