"""The rack's certificate authority and the certificates of its endpoints, named by address."""

from __future__ import annotations

import datetime
import ipaddress
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lab.errors import LabError
from lab.paths import State

DAYS = 825
CA_NAME = "Rack CA"


def ca(state: State) -> Path:
    """The CA's certificate; made on first use, with its key beside it (mode 0600)."""
    certificate, key = state.tls / "ca.pem", state.tls / "ca.key"
    if not (certificate.exists() and key.exists()):
        own = ec.generate_private_key(ec.SECP256R1())
        public = own.public_key()
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, CA_NAME)])
        built = (
            _builder(name, name, public)
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(ca_=True), critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
            .sign(own, hashes.SHA256())
        )
        _write(key, _pem(own), private=True)
        _write(certificate, built.public_bytes(serialization.Encoding.PEM))
    return certificate


def issue(state: State, name: str, addresses: Sequence[str], names: Sequence[str] = ()) -> tuple[Path, Path]:
    """Certificate and key files of an endpoint; made on first use.

    `addresses` and `names` become its subject alternative names. Raises LabError for a malformed address.
    """
    file, key = state.tls / f"{name}.pem", state.tls / f"{name}.key"
    if file.exists() and key.exists():
        return file, key
    alternatives: list[x509.GeneralName]
    try:
        alternatives = [x509.IPAddress(ipaddress.ip_address(item)) for item in addresses]
    except ValueError as error:
        raise LabError(f"certificate of {name}: {error}") from error
    alternatives += [x509.DNSName(item) for item in names]
    issuer = x509.load_pem_x509_certificate(ca(state).read_bytes())
    signer = serialization.load_pem_private_key((state.tls / "ca.key").read_bytes(), None)
    if not isinstance(signer, ec.EllipticCurvePrivateKey):
        raise LabError(f"{state.tls}/ca.key is no elliptic curve key; remove {state.tls} and run `lab up`")
    own = ec.generate_private_key(ec.SECP256R1())
    public = own.public_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    built = (
        _builder(subject, issuer.subject, public)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(ca_=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False
        )
        .sign(signer, hashes.SHA256())
    )
    _write(key, _pem(own), private=True)
    _write(file, built.public_bytes(serialization.Encoding.PEM))
    return file, key


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey
) -> x509.CertificateBuilder:
    now = datetime.datetime.now(datetime.UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=DAYS))
    )


def _usage(*, ca_: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not ca_,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=ca_,
        crl_sign=ca_,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _write(path: Path, data: bytes, *, private: bool = False) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    fresh = path.with_name(path.name + ".new")
    fresh.touch(mode=0o600 if private else 0o644)
    fresh.write_bytes(data)
    fresh.rename(path)
