"""Phase 0: what the first look found against the order; every sentence reads one check of one observation."""

from __future__ import annotations

from dataclasses import asdict

from pytest_bdd import parsers, then

from cluster import role_documents
from cluster.cluster import Cluster
from cluster.contradictions import contradictions
from cluster.errors import NotApplicableError
from cluster.site import Site
from cluster.ssm_lint import Kind, advise, lint
from cluster.units import parse_seconds
from provisioners.preflight import Finding, findings
from provisioners.preflight.findings import (
    CLOCK,
    DIRECTORY,
    IDENTITY,
    INVENTORY,
    LOG,
    LOGIN,
    MEDIUM,
    NAMES,
    PORTS,
    TIME,
)
from provisioners.preflight.rights import BUCKET, CHANGES, KEY, OUTSIDE, READS
from reports.evidence import Run
from reports.terminal import say
from steps.phases import Phases
from steps.verdict import NotAsOrderedError, all_hold


def _check(phases: Phases, site: Site, *checks: str) -> None:
    seen = phases.require(0)
    found: list[Finding] = [finding for check in checks for finding in findings(site, seen, check)]
    all_hold(map(str, found))


def _tree(site: Site, cluster: Cluster, *kinds: Kind) -> None:
    all_hold(str(finding) for finding in lint(site, cluster.secrets.tree()) if finding.kind in kinds)


@then("the order holds no contradiction that stops the work")
def _no_stop(site: Site) -> None:
    all_hold(
        f"{c.id} ({c.key}): {c.truth} Instead: {c.instead}"
        for c in contradictions(site)
        if c.severity == "error"
    )


@then("every lesser contradiction is written into the report with what to do instead")
def _lesser(site: Site, evidence: Run) -> None:
    found = contradictions(site)
    for each in found:
        evidence.contradiction(asdict(each))
        say(f"{each.severity} {each.id} ({each.key}): {each.truth}")
    all_hold(f"{c.id} names no way out" for c in found if not c.instead)


@then("each server's management controller accepts the credentials on file over a verified connection")
def _login(phases: Phases, site: Site) -> None:
    _check(phases, site, LOGIN)


@then("each management controller reports the serial number of its own server")
def _identity(phases: Phases, site: Site) -> None:
    _check(phases, site, IDENTITY)


@then(
    "each server has the ordered processors, memory, drives and network ports as far as its controller tells"
)
def _inventory(phases: Phases, site: Site) -> None:
    _check(phases, site, INVENTORY)


@then(parsers.parse("each management controller's clock is within {limit} of ours"))
def _bmc_clock(limit: str, phases: Phases, site: Site) -> None:
    _check(phases, site, CLOCK)
    allowed = parse_seconds(limit)
    offsets = {
        n: c.clock_offset for n, c in phases.require(0).controllers.items() if c.clock_offset is not None
    }
    all_hold(
        f"{n}: its controller's clock is {o:+.0f} s from ours" for n, o in offsets.items() if abs(o) > allowed
    )


@then("each management controller's event log can be read")
def _log(phases: Phases, site: Site) -> None:
    _check(phases, site, LOG)


@then("each server's switch ports are enabled and carry exactly the ordered networks, all tagged")
def _ports(phases: Phases, site: Site) -> None:
    _check(phases, site, PORTS)


@then("every ordered parameter exists and can be read")
def _complete(site: Site, cluster: Cluster) -> None:
    _tree(site, cluster, "missing", "form")


@then("every secret among them is stored encrypted")
def _encrypted(site: Site, cluster: Cluster, evidence: Run) -> None:
    _tree(site, cluster, "plain secret")
    for advice in advise(site, cluster.secrets.tree()):
        evidence.note(f"advice: {advice}")


@then("every address and subnet among them is valid, unique and the same as in the order")
def _tree_addresses(site: Site, cluster: Cluster) -> None:
    _tree(site, cluster, "address")


@then("the nodes' role reads the cluster's parameters")
def _role_reads(phases: Phases, site: Site) -> None:
    _check(phases, site, READS)


@then("the nodes' role can neither read nor write outside of them")
def _role_outside(phases: Phases, site: Site) -> None:
    _check(phases, site, OUTSIDE)


@then("the nodes' role can neither delete a parameter nor change a secret")
def _role_changes(phases: Phases, site: Site) -> None:
    _check(phases, site, CHANGES)


@then("the policies of the role and of the key hold no known mistake")
def _policies(site: Site, cluster: Cluster, evidence: Run) -> None:
    found = role_documents.lint(role_documents.read(cluster.aws, site), site)
    for each in found:
        evidence.note(str(each))
    all_hold(str(each) for each in found if each.severity == "error")


@then("an object can be written to the backup bucket, read back and removed")
def _bucket(phases: Phases, site: Site) -> None:
    _check(phases, site, BUCKET)


@then("the backup key encrypts and decrypts")
def _key(phases: Phases, site: Site) -> None:
    _check(phases, site, KEY)


@then("the installer medium is present and its checksum is the published one")
def _medium(phases: Phases, site: Site) -> None:
    _check(phases, site, MEDIUM)


@then("each ordered name server resolves")
def _names(phases: Phases, site: Site) -> None:
    if not phases.require(0).names:
        raise NotAsOrderedError("no name server was asked")
    _check(phases, site, NAMES)


@then("each ordered time server answers with synchronised time")
def _times(phases: Phases, site: Site) -> None:
    if not phases.require(0).times:
        raise NotAsOrderedError("no time server was asked")
    _check(phases, site, TIME)


@then("the ordered directory and file service answer")
def _directory(phases: Phases, site: Site) -> None:
    if not phases.require(0).directory:
        raise NotApplicableError(
            "PF-DIRECTORY-NOT-ORDERED",
            "this site orders neither a directory nor a file service.",
            "order them.",
        )
    _check(phases, site, DIRECTORY)
