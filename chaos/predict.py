"""The outage that a bond's live configuration implies. Pure.

Sources: kernel documentation of the bonding driver (miimon polls; delays are rounded down to multiples of
it; the ARP monitor calls a leg dead after `arp_missed_max` and a half intervals of silence, looking once
an interval); IEEE 802.1AX (a partner is given up after three LACPDUs missed, at 1 s when fast and 30 s
when slow).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from chaos.bond_state import LACP_MODE, BondState

Loss = Literal["carrier", "silent"]


@dataclass(frozen=True)
class Prediction:
    """Range of the outage in seconds, and why. `most_s` None: the bond never notices, so it lasts until
    healed.
    """

    least_s: float
    most_s: float | None
    why: str

    @property
    def detected(self) -> bool:
        """False where the bond never notices."""
        return self.most_s is not None


def link_loss(bond: BondState, loss: Loss, carries_traffic: bool = True) -> Prediction:
    """Outage when one leg fails. `carries_traffic` False: the standby leg, whose loss interrupts nothing."""
    if not carries_traffic:
        return Prediction(0.0, 0.0, "the leg carries no traffic")
    if loss == "carrier" and bond.miimon > 0:
        delay = bond.downdelay // bond.miimon * bond.miimon
        return Prediction(
            delay / 1000,
            (bond.miimon + delay) / 1000,
            f"carrier is polled every {bond.miimon} ms (miimon), downdelay {delay} ms",
        )
    if bond.mode == LACP_MODE:
        period, text = (1, "fast") if bond.lacp_rate == "fast" else (30, "slow")
        return Prediction(
            2.0 * period, 3.0 * period, f"three LACPDUs missed at {period} s (lacp_rate {text})"
        )
    if bond.arp_interval > 0:
        least = (bond.arp_missed_max - 0.5) * bond.arp_interval / 1000
        most = (bond.arp_missed_max + 1.5) * bond.arp_interval / 1000
        why = f"ARP monitor every {bond.arp_interval} ms, {bond.arp_missed_max} replies missed"
        return Prediction(least, most, why)
    return Prediction(
        0.0,
        None,
        f"nothing notices it: miimon {bond.miimon} ms sees carrier only, and there is no ARP monitor",
    )


def alone(deadman_s: float, bond: BondState) -> Prediction:
    """Outage when every leg fails and only the dead-man's switch heals: what is left of its delay, and
    the way up.

    The delay counts from arming, which comes before the break by a few seconds, at most by half of it
    (`Engine`).

    A leg that comes back as the only one is used at once, without updelay (kernel documentation).
    """
    most = deadman_s + (bond.miimon + bond.updelay) / 1000 + 1.0
    return Prediction(deadman_s / 2, most, f"the dead-man's switch fires after {deadman_s:g} s")
