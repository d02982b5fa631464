"""Times that Ceph's live configuration implies: until a part is missed, and how long clients wait. Pure.

Sources: Ceph's configuration reference and measurements on 18.2.7 (OSD killed: down after 1.4 s; OSD silent:
21.8 to 24.2 s; leading monitor killed: new quorum after 14.4 s). A daemon that is killed refuses connections,
which its peers report at once; one that falls silent is waited for. Options are read from the cluster: no
default stands here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

from chaos.predict import Prediction
from cluster.errors import UnknownError

COMMIT_S = 2.0
"""A change of a map is agreed on and told: the proposal waits up to 1 s (paxos_propose_interval)."""
PEERING_S = 5.0
"""Peering after a change of the map, on an idle cluster with little data."""


@dataclass(frozen=True)
class CephTimes:
    """Ceph's own times as configured now, in seconds; field names are Ceph's options."""

    osd_heartbeat_interval: float
    osd_heartbeat_grace: float
    mon_osd_min_down_reporters: float
    mon_osd_down_out_interval: float
    mon_tick_interval: float
    mon_lease: float
    mon_lease_ack_timeout_factor: float
    mon_lease_renew_interval_factor: float
    mon_election_timeout: float
    mon_mgr_beacon_grace: float
    mgr_tick_period: float
    mds_beacon_grace: float
    mds_beacon_interval: float
    osd_fast_fail_on_connection_refused: bool

    @classmethod
    def of(cls, answers: Mapping[str, Any]) -> CephTimes:
        """From the answers to `commands()`. Raises `UnknownError` where one is missing or no number."""
        values: dict[str, Any] = {}
        for field in fields(cls):
            values[field.name] = _number(field.name, answers.get(field.name))
        values["osd_fast_fail_on_connection_refused"] = bool(values["osd_fast_fail_on_connection_refused"])
        return cls(**values)


def commands() -> dict[str, dict[str, str]]:
    """One `config get` for each option, to be asked in one call."""
    section = {"osd": "osd", "mon": "mon", "mgr": "mgr", "mds": "mds"}
    return {
        field.name: {
            "prefix": "config get",
            "who": section[field.name.partition("_")[0]],
            "key": field.name,
        }
        for field in fields(CephTimes)
    }


def osd_killed(times: CephTimes, laggy_s: float = 0.0) -> Prediction:
    """Until the map says down. Peers that are refused report at once; the first one to try is enough."""
    if not times.osd_fast_fail_on_connection_refused:
        return osd_silent(times, laggy_s)
    return Prediction(
        0.0,
        times.osd_heartbeat_interval + COMMIT_S,
        f"connections are refused: noticed within a heartbeat ({times.osd_heartbeat_interval:g} s)",
    )


def osd_silent(times: CephTimes, laggy_s: float = 0.0) -> Prediction:
    """Until the map says down where the OSD neither answers nor refuses. `laggy_s` lengthens the grace."""
    grace, interval = times.osd_heartbeat_grace, times.osd_heartbeat_interval
    return Prediction(
        grace - interval,
        grace + laggy_s + interval + times.mon_tick_interval,
        f"heartbeats every {interval:g} s, grace {grace:g} s{f' and {laggy_s:.0f} s' if laggy_s else ''},"
        f" {times.mon_osd_min_down_reporters:g} reporters",
    )


def disk_gone(times: CephTimes) -> Prediction:
    """Until the map says down: the OSD ends itself at its next write; an idle one only when it must write."""
    killed = osd_killed(times)
    return Prediction(
        0.0,
        (killed.most_s or 0.0) + times.osd_heartbeat_grace,
        "the OSD ends itself at its next input or output; then connections are refused",
    )


def osd_out(times: CephTimes) -> Prediction | None:
    """From down until the map says out; None where Ceph never does so by itself (interval 0)."""
    wait = times.mon_osd_down_out_interval
    if wait <= 0:
        return None
    return Prediction(
        wait, wait + times.mon_tick_interval + COMMIT_S, f"mon_osd_down_out_interval is {wait:g} s"
    )


def client_pause(down: Prediction) -> Prediction:
    """Writes to placement groups of the dead OSD wait until it is down and the others have peered."""
    most = None if down.most_s is None else down.most_s + PEERING_S
    return Prediction(0.0, most, f"until it is down ({down.why}), and peering")


def new_quorum(times: CephTimes, *, leader: bool) -> Prediction:
    """Until the monitors left have a quorum. Peons wait for a lease, the leader for its acknowledgement."""
    wait = times.mon_lease * times.mon_lease_ack_timeout_factor
    renew = times.mon_lease * times.mon_lease_renew_interval_factor
    least = max(0.0, wait - renew) if leader else wait
    most = wait + (0.0 if leader else renew) + times.mon_election_timeout + COMMIT_S
    who = "peons wait for the next lease" if leader else "the leader waits for its lease to be acknowledged"
    election = f"election {times.mon_election_timeout:g} s"
    return Prediction(least, most, f"{who} for {wait:g} s, renewed every {renew:g} s; {election}")


def new_mgr(times: CephTimes) -> Prediction:
    """Until another manager is active."""
    grace = times.mon_mgr_beacon_grace
    return Prediction(
        max(0.0, grace - times.mgr_tick_period),
        grace + times.mon_tick_interval + COMMIT_S + PEERING_S,
        f"mon_mgr_beacon_grace is {grace:g} s",
    )


def new_mds(times: CephTimes) -> Prediction:
    """Until another MDS is active: its journal is replayed and clients reconnect after the grace."""
    grace = times.mds_beacon_grace
    return Prediction(
        max(0.0, grace - times.mds_beacon_interval),
        grace + times.mon_tick_interval + COMMIT_S + 2 * PEERING_S,
        f"mds_beacon_grace is {grace:g} s; then replay, reconnect and rejoin",
    )


def outside(prediction: Prediction, measured_s: float, resolution_s: float) -> str | None:
    """How a measured time differs from the range predicted, as a sentence; None where it lies in it."""
    if measured_s + resolution_s < prediction.least_s:
        return f"{measured_s:.1f} s is sooner than predicted ({prediction.least_s:.1f} s: {prediction.why})"
    if prediction.most_s is not None and measured_s - resolution_s > prediction.most_s:
        return f"{measured_s:.1f} s is later than predicted ({prediction.most_s:.1f} s: {prediction.why})"
    return None


def _number(name: str, value: object) -> float:
    text = str(value).strip().strip('"').lower()
    if text in ("true", "false"):
        return float(text == "true")
    try:
        return float(text)
    except ValueError:
        raise UnknownError(f"Ceph does not tell its option {name} as a number: {value}") from None
