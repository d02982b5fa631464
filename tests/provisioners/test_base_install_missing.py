"""Phase 1's pure part, both ways: nothing missing, and each thing missing alone."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.site import Site
from provisioners.base_install.common import variables
from provisioners.base_install.missing import missing
from provisioners.base_install.observation import Observation, Server
from provisioners.base_install.system import Clock, ParameterAccess, Repository
from tests.provisioners.nodes import with_server, with_system


def test_nothing_is_missing_on_nodes_as_ordered(site: Site, installed: Observation) -> None:
    assert missing(site, installed) == []


ALONE: list[tuple[dict[str, Any], str]] = [
    ({"hostname": "pve"}, "set the host name to node2 (it is pve)"),
    ({"fqdn": "node2.example.com"}, "set the full name to node2.rack.example (it is node2.example.com)"),
    ({"timezone": "Europe/Berlin"}, "set the time zone to UTC (it is Europe/Berlin)"),
    ({"nameservers": ("8.8.8.8",)}, "set the name servers to 10.6.0.1"),
    ({"search": ()}, "set the search domain to rack.example"),
    ({"clock": Clock(False, 0.0, 0, ())}, "start time synchronisation with 10.6.0.1"),
]


@pytest.mark.parametrize(("change", "sentence"), ALONE, ids=[next(iter(c)) for c, _ in ALONE])
def test_each_thing_missing_alone(
    site: Site, installed: Observation, change: dict[str, Any], sentence: str
) -> None:
    found = missing(site, with_system(installed, "node2", **change))
    assert [(c.node, c.summary, c.action) for c in found] == [("node2", sentence, "common")]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("passwordauthentication", "yes"),
        ("kbdinteractiveauthentication", "yes"),
        ("permitemptypasswords", "yes"),
        ("permitrootlogin", "yes"),
        ("pubkeyauthentication", "no"),
    ],
)
def test_each_way_to_enter_with_a_password(site: Site, installed: Observation, key: str, value: str) -> None:
    sshd = {**installed.system("node1").sshd, key: value}
    (change,) = missing(site, with_system(installed, "node1", sshd=sshd))
    assert key in change.summary and change.action == "common"


def test_a_left_over_drop_in_is_taken_away_only_where_it_does_harm(
    site: Site, installed: Observation
) -> None:
    system = installed.system("node1")
    dropins = (*system.sshd_dropins, "/etc/ssh/sshd_config.d/00-left-over.conf")
    assert missing(site, with_system(installed, "node1", sshd_dropins=dropins)) == []
    sshd = {**system.sshd, "passwordauthentication": "yes"}
    harm = with_system(installed, "node1", sshd_dropins=dropins, sshd=sshd)
    assert [c.summary for c in missing(site, harm)] == [
        "set the SSH server's passwordauthentication to no (it is yes)",
        "take away /etc/ssh/sshd_config.d/00-left-over.conf, which says otherwise",
    ]
    given = variables(site, site.node("node1"), harm.material, harm.system("node1"))
    assert given["node_sshd_removed"] == ["/etc/ssh/sshd_config.d/00-left-over.conf"]


def test_only_what_hides_the_rest_blocks(site: Site, installed: Observation) -> None:
    seen = missing(site, with_system(installed, "node1", hostname="pve"))
    unseen = missing(site, with_server(installed, silent("node1", power="Off")))
    assert not any(c.blocks for c in seen) and unseen[0].blocks


def test_each_managed_file_alone(site: Site, installed: Observation) -> None:
    files = installed.system("node3").files
    for path in files:
        for broken in ({**files, path: "0 644"}, {p: d for p, d in files.items() if p != path}):
            (change,) = missing(site, with_system(installed, "node3", files=broken))
            assert (change.node, change.summary) == ("node3", f"bring {path} as ordered")


def test_each_package_alone(site: Site, installed: Observation) -> None:
    packages = installed.system("node1").packages
    for name in packages:
        (change,) = missing(site, with_system(installed, "node1", packages=packages - {name}))
        assert change.summary == f"install the packages {name}"


def test_repositories_both_ways(site: Site, installed: Observation) -> None:
    own, enterprise = installed.system("node1").repositories
    off = missing(
        site, with_system(installed, "node1", repositories=(replace(own, enabled=False), enterprise))
    )
    assert [c.summary for c in off] == ["enable the package repository pve-no-subscription"]
    old = missing(
        site, with_system(installed, "node1", repositories=(replace(own, suite="bookworm"), enterprise))
    )
    assert [c.summary for c in old] == ["enable the package repository pve-no-subscription"]
    both = missing(
        site, with_system(installed, "node1", repositories=(own, replace(enterprise, enabled=True)))
    )
    assert [c.summary for c in both] == [
        f"disable the package repository pve-enterprise in {enterprise.file}"
    ]
    stray = Repository("/etc/apt/sources.list.d/x.list", "http://d", "trixie", ("pvetest",), True)
    test = missing(site, with_system(installed, "node1", repositories=(own, enterprise, stray)))
    assert [c.summary for c in test] == [
        "disable the package repository pvetest in /etc/apt/sources.list.d/x.list"
    ]


@pytest.mark.parametrize(
    "access",
    [
        ParameterAccess("", False, "", "there are no credentials on this node"),
        ParameterAccess("pve1", False, "", ""),
        ParameterAccess("other", True, "", ""),
    ],
)
def test_access_to_parameters(site: Site, installed: Observation, access: ParameterAccess) -> None:
    (change,) = missing(site, with_system(installed, "node1", parameter=access))
    assert change.action == "credentials" and "short-lived credentials" in change.summary


def silent(name: str, **facts: Any) -> Server:
    return Server(name, None, **facts)


def test_a_bare_server_is_planned_whole_without_being_touched(site: Site, installed: Observation) -> None:
    found = missing(site, with_server(installed, silent("node1", power="Off")))
    assert {c.node for c in found} == {"node1"}
    assert [c.action for c in found] == ["install"] * 5 + ["credentials"]
    assert "BOOT11 and BOOT12" in found[0].summary and "node1.rack.example" in found[0].summary
    assert not any(c.destroys for c in found)


def test_an_unknown_running_server_would_lose_what_it_holds(site: Site, installed: Observation) -> None:
    found = missing(site, with_server(installed, silent("node1", power="On")))
    assert found[0].destroys and found[0].serials == ("BOOT11", "BOOT12")


@pytest.mark.parametrize("power", ["On", "Off"])
def test_an_installed_node_is_never_installed_again(site: Site, installed: Observation, power: Any) -> None:
    (change,) = missing(site, with_server(installed, silent("node2", power=power, marker="installed")))
    assert (
        change.action == "start" and change.when_wiped == "install" and change.serials == ("BOOT21", "BOOT22")
    )
    assert "--wipe BOOT21 --wipe BOOT22" in change.summary


@pytest.mark.parametrize("power", ["On", "Off"])
def test_an_interrupted_installation_is_taken_up(site: Site, installed: Observation, power: Any) -> None:
    begun = missing(
        site, with_server(installed, silent("node2", power=power, marker="installing", medium=True))
    )
    assert [c.action for c in begun] == ["install"] and not begun[0].destroys
    written = missing(site, with_server(installed, silent("node2", power=power, marker="written")))
    assert [c.action for c in written] == ["start"] and not written[0].when_wiped


def test_a_silent_controller_cannot_be_provisioned(site: Site, installed: Observation) -> None:
    (change,) = missing(site, with_server(installed, silent("node3", trouble="no answer within 5 s")))
    assert change.action == "reach" and "no answer within 5 s" in change.summary


def test_what_only_people_can_mend_is_not_planned(site: Site, installed: Observation) -> None:
    system = installed.system("node1")
    assert missing(site, with_system(installed, "node1", drives=system.drives[:-1])) == []
    assert missing(site, with_system(installed, "node1", mirror=replace(system.mirror, absent=1))) == []
