"""The endpoints, one module a subject; each declares its own with http.registry.endpoint when imported."""

from __future__ import annotations

import importlib
import pkgutil


def load() -> None:
    """Import every module of this folder, so that its endpoints are known."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")
