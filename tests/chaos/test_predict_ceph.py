"""Predictions follow the live configuration and agree with what was measured on Ceph 18.2.7."""

from __future__ import annotations

from dataclasses import replace

import pytest

from chaos import predict_ceph
from chaos.predict_ceph import CephTimes, commands, outside
from cluster.ceph import CephError
from cluster.errors import UnknownError
from tests.chaos.fake_ceph import CONFIG

TIMES = CephTimes.of(CONFIG)


def test_every_option_is_asked_of_the_daemon_that_it_concerns() -> None:
    asked = commands()
    assert set(asked) == set(CONFIG)
    assert asked["mds_beacon_grace"] == {"prefix": "config get", "who": "mds", "key": "mds_beacon_grace"}
    assert {each["who"] for each in asked.values()} == {"osd", "mon", "mgr", "mds"}


def test_an_option_that_is_not_told_is_unknown() -> None:
    with pytest.raises(UnknownError, match="mon_lease as a number"):
        CephTimes.of({**CONFIG, "mon_lease": CephError(2, "unrecognized key")})
    with pytest.raises(UnknownError, match="mgr_tick_period"):
        CephTimes.of({key: value for key, value in CONFIG.items() if key != "mgr_tick_period"})


@pytest.mark.parametrize(
    ("prediction", "measured"),
    [
        (predict_ceph.osd_killed(TIMES), 1.4),
        (predict_ceph.osd_silent(TIMES), 21.8),
        (predict_ceph.osd_silent(TIMES), 24.2),
        (predict_ceph.new_quorum(TIMES, leader=True), 14.4),
        (predict_ceph.client_pause(predict_ceph.osd_silent(TIMES)), 23.0),
    ],
)
def test_what_was_measured_lies_in_the_range(prediction: predict_ceph.Prediction, measured: float) -> None:
    assert outside(prediction, measured, 0.0) is None


def test_ranges_move_with_the_configuration() -> None:
    slow = replace(
        TIMES, osd_heartbeat_grace=60.0, mds_beacon_grace=60.0, mon_mgr_beacon_grace=90.0, mon_lease=20.0
    )
    assert predict_ceph.osd_silent(slow).least_s == 54
    assert predict_ceph.new_mds(slow).least_s == 56
    assert predict_ceph.new_mgr(slow).least_s == 88
    assert predict_ceph.new_quorum(slow, leader=False).least_s == 40
    patient = predict_ceph.osd_silent(TIMES, laggy_s=30).most_s
    assert patient == (predict_ceph.osd_silent(TIMES).most_s or 0) + 30


def test_without_fast_failure_a_killed_osd_is_waited_for() -> None:
    slow = replace(TIMES, osd_fast_fail_on_connection_refused=False)
    assert predict_ceph.osd_killed(slow) == predict_ceph.osd_silent(slow)


def test_out_comes_after_the_interval_or_never() -> None:
    found = predict_ceph.osd_out(TIMES)
    assert found is not None
    assert found.least_s == 600
    assert predict_ceph.osd_out(replace(TIMES, mon_osd_down_out_interval=0.0)) is None


def test_too_soon_is_as_suspicious_as_too_late() -> None:
    found = predict_ceph.new_mds(TIMES)
    assert "sooner than predicted (11.0 s" in (outside(found, 5.0, 1.0) or "")
    assert outside(found, 10.5, 1.0) is None
    assert "later than predicted" in (outside(found, 100.0, 1.0) or "")
