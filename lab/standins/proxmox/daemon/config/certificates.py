"""The cluster's CA, each node's certificate, and the key that signs tickets (PVE::Cluster::Setup)."""

from __future__ import annotations

import re
import ssl
import tempfile
import uuid
from pathlib import Path

from ..http.client import CA
from ..http.machine import Machine
from ..http.tickets import KEY as AUTHKEY
from . import members

CA_KEY = "/etc/pve/priv/pve-root-ca.key"
DAYS = 730
# A certificate is valid from before it was made: a node's clock may be set back once it hears the time.
CLOCK_MAY_BE_AHEAD_DAYS = 2


def certificate(node: str) -> str:
    return f"/etc/pve/nodes/{node}/pve-ssl.pem"


def key(node: str) -> str:
    return f"/etc/pve/nodes/{node}/pve-ssl.key"


def names(machine: Machine) -> tuple[str, list[str]]:
    """The node's full name, and all that its certificate is for."""
    here = members.address(machine, machine.node)
    fqdn = machine.node
    for line in machine.read("/etc/hosts").splitlines():
        words = line.partition("#")[0].split()
        if words[1:] and words[0] == here:
            fqdn = next((word for word in words[1:] if word.startswith(f"{machine.node}.")), fqdn)
    wanted = ["IP:127.0.0.1", "DNS:localhost", f"IP:{here}", f"DNS:{machine.node}", f"DNS:{fqdn}"]
    return fqdn, list(dict.fromkeys(wanted))


def _new_key(machine: Machine) -> str:
    curve = "ec_paramgen_curve:P-256"
    return machine.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", curve], timeout_s=120).out


def ensure(machine: Machine, *, renew: bool = False) -> bool:
    """Make what is missing: auth key, CA, this node's certificate (with `renew` in any case); True if new.

    ApiError 500 where /etc/pve cannot be written or openssl fails.
    """
    if not machine.read(AUTHKEY):
        machine.write(AUTHKEY, _new_key(machine))
    if not machine.read(CA) or not machine.read(CA_KEY):
        _make_ca(machine)
    if not renew and not _stale(machine):
        return False
    _make_certificate(machine)
    return True


def _make_ca(machine: Machine) -> None:
    secret = machine.read(CA_KEY) or _new_key(machine)
    subject = f"/CN=Proxmox Virtual Environment/OU={uuid.uuid4()}/O=PVE Cluster Manager CA"
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder) / "ca.key"
        place.touch(0o600)
        place.write_text(secret)
        done = machine.run(
            ["openssl", "req", "-x509", "-new", "-sha256", "-days", "3650", "-key", str(place),
             "-subj", subject,
             "-addext", "keyUsage=critical,keyCertSign,cRLSign"],
            timeout_s=120,
        )  # fmt: skip
    machine.write(CA_KEY, secret)
    machine.write(CA, _pem(done.out))


def _pem(text: str) -> str:
    return text[text.index("-----BEGIN CERTIFICATE") :]


def _stale(machine: Machine) -> bool:
    """Whether the certificate is missing, is not for this node's address, or is another CA's."""
    path = machine.file(certificate(machine.node))
    if not path.exists() or not machine.file(key(machine.node)).exists():
        return True
    told = machine.run(["openssl", "x509", "-in", str(path), "-noout", "-text"], check=False).out
    known = set(re.findall(r"(?:IP Address|DNS):[^\s,]+", told))
    wanted = {name.replace("IP:", "IP Address:") for name in names(machine)[1]}
    check = ["openssl", "verify", "-CAfile", str(machine.file(CA)), "-no_check_time", str(path)]
    return not wanted <= known or machine.run(check, check=False).code != 0


def _make_certificate(machine: Machine) -> None:
    fqdn, wanted = names(machine)
    secret = machine.read(key(machine.node)) or _new_key(machine)
    extensions = (
        "basicConstraints=CA:FALSE\nkeyUsage=critical,digitalSignature\nextendedKeyUsage=serverAuth,clientAuth\n"
        "subjectKeyIdentifier=hash\nauthorityKeyIdentifier=keyid\n"
        f"subjectAltName={','.join(wanted)}\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        place, request, more, ca_key = (Path(folder) / name for name in ("key", "csr", "ext", "ca"))
        for file, text in ((place, secret), (more, extensions), (ca_key, machine.read(CA_KEY))):
            file.touch(0o600)
            file.write_text(text)
        subject = f"/OU=PVE Cluster Node/O=Proxmox Virtual Environment/CN={fqdn}"
        machine.run(
            ["openssl", "req", "-new", "-key", str(place), "-subj", subject, "-out", str(request)],
            timeout_s=120,
        )
        sign = ["openssl", "x509", "-req", "-sha256", "-in", str(request), "-CA", str(machine.file(CA)),
                "-CAkey",
                str(ca_key), "-set_serial", f"0x{uuid.uuid4().hex}", "-extfile", str(more)]  # fmt: skip
        done = machine.run([*sign, *_validity(machine)], timeout_s=120)
    machine.write(key(machine.node), secret)
    machine.write(certificate(machine.node), _pem(done.out))


def _validity(machine: Machine) -> list[str]:
    """openssl has -not_before since 3.4 (Debian 13); before that a certificate begins now."""
    if "-not_before" not in machine.run(["openssl", "x509", "-help"], check=False).err:
        return ["-days", str(DAYS)]
    import time

    begin = time.time() - CLOCK_MAY_BE_AHEAD_DAYS * 86400
    form = "%Y%m%d%H%M%SZ"
    return ["-not_before", time.strftime(form, time.gmtime(begin)), "-not_after",
            time.strftime(form, time.gmtime(begin + DAYS * 86400))]  # fmt: skip


def context(machine: Machine) -> ssl.SSLContext:
    """What the server on port 8006 shows. Raises OSError or ssl.SSLError where the files are not there."""
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    made.load_cert_chain(machine.file(certificate(machine.node)), machine.file(key(machine.node)))
    return made
