"""A harness in small: what the real conftest.py does with the reports plugin, without a cluster."""

from __future__ import annotations

import os

import pytest

from reports.plugin import features_asked, open_run
from reports.redaction import Redactor

pytest_plugins = ["steps.collect", "reports.plugin", "fake_steps"]


@pytest.hookimpl(tryfirst=True)
def pytest_configure(config: pytest.Config) -> None:
    if features_asked(config):
        open_run(
            config,
            site="lab",
            kind=os.environ.get("FAKE_KIND", "rehearsal"),  # type: ignore[arg-type]
            seed=4711,
            redactor=Redactor(),
            relaxed={"host_network_throughput": "20 Mbit/s"},
        )
