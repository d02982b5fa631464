"""AWS as the cluster uses it: parameters (SSM), identities (STS), the backup bucket (S3) and the key (KMS).

Every call ends within `DEADLINE_S`: botocore makes at most `ATTEMPTS` attempts of `CONNECT_S` + `READ_S` each
(retry mode `standard`). Each failure becomes one sentence; a refusal by policy is its own type, because
preflight asks for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import boto3
import botocore.session
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError
from botocore.exceptions import ConnectionError as NoConnectionError

from cluster.errors import RackproofError, UnreachableError

if TYPE_CHECKING:
    from cluster.site_models import Aws as AwsTable

CONNECT_S = 5
READ_S = 20
ATTEMPTS = 3
DEADLINE_S = ATTEMPTS * (CONNECT_S + READ_S)
_STANDARD = 4096  # bytes of a value in Parameter Store's standard tier
_PAGES = 2000  # 10 parameters a page: twice the 10 000 that a region may hold
_DENIED = frozenset({"AccessDenied", "AccessDeniedException", "UnauthorizedOperation", "403"})
_BAD_CREDENTIALS = frozenset(
    {"InvalidClientTokenId", "UnrecognizedClientException", "SignatureDoesNotMatch", "ExpiredToken",
     "ExpiredTokenException", "InvalidAccessKeyId", "InvalidSignatureException", "AuthFailure"}
)  # fmt: skip

Observer = Callable[[str, str, str, float], None]


class AwsError(RackproofError):
    """AWS answered, and refused; `code` is AWS's own name of the reason."""

    def __init__(self, message: str, code: str = "") -> None:
        self.code = code
        super().__init__(message)


class AccessDeniedError(AwsError):
    """A policy forbids the call to this identity."""


class NotFoundError(AwsError):
    """The parameter, object, key or role does not exist."""


@dataclass(frozen=True)
class Parameter:
    """One parameter as SSM returned it; `key_id` is the KMS key of a SecureString, None where it was not
    told. `unreadable` says why its value could not be had, which is then empty.
    """

    name: str
    type: str
    value: str = field(repr=False)
    version: int
    key_id: str | None = None
    unreadable: str = ""

    @property
    def secret(self) -> bool:
        """True for a SecureString."""
        return self.type == "SecureString"


@dataclass(frozen=True)
class Identity:
    """Who AWS takes us for."""

    account: str
    arn: str


class Aws:
    """The account, region and endpoint of a site. Clients are made on first use and may be shared by threads.

    Raises (every method): `UnreachableError` where no answer came, `AccessDeniedError`, `NotFoundError`,
    `AwsError`.
    """

    def __init__(
        self,
        table: AwsTable,
        observer: Observer | None = None,
        *,
        credentials: Mapping[str, str] | None = None,
        who: str = "",
    ) -> None:
        self.table = table
        self._observer = observer
        self.who = who or (
            f"profile {table.profile}" if table.profile else f"source {table.credential_source}"
        )
        self._credentials = credentials
        self._clients: dict[str, Any] = {}
        self._lock = threading.Lock()

    @property
    def where(self) -> str:
        """Endpoint and region, for messages."""
        return f"{self.table.endpoint or 'AWS'} ({self.table.region})"

    def client(self, service: str) -> Any:
        """A boto3 client of this site with deadlines, bounded retries and a verified connection."""
        with self._lock:
            if service not in self._clients:
                with self.told(f"opening {service}"):
                    self._clients[service] = self._make(service)
            return self._clients[service]

    def _make(self, service: str) -> Any:
        table = self.table
        core = botocore.session.Session(profile=None if self._credentials else table.profile)
        if table.credentials_file is not None:
            if not table.credentials_file.is_file():
                raise AwsError(f"aws.credentials_file = {table.credentials_file}: there is no such file")
            core.set_config_variable("credentials_file", str(table.credentials_file))
        if table.ca_file is not None and not table.ca_file.is_file():
            raise AwsError(f"aws.ca_file = {table.ca_file}: there is no such file")
        config = Config(
            connect_timeout=CONNECT_S,
            read_timeout=READ_S,
            retries={"mode": "standard", "total_max_attempts": ATTEMPTS},
            # An endpoint of a rack is reached directly and has no name per bucket.
            proxies={} if table.endpoint else None,
            s3={"addressing_style": "path"} if table.endpoint else None,
        )
        session = boto3.session.Session(botocore_session=core, region_name=table.region, **self._keys())
        verify: Any = str(table.ca_file) if table.ca_file else None
        return session.client(service, endpoint_url=table.endpoint, verify=verify, config=config)  # type: ignore[call-overload]

    def _keys(self) -> dict[str, Any]:
        given = self._credentials
        if given is None:
            return {}
        return {
            "aws_access_key_id": given["AccessKeyId"],
            "aws_secret_access_key": given["SecretAccessKey"],
            "aws_session_token": given["SessionToken"],
        }

    # -- parameters

    def parameters(self) -> dict[str, Parameter]:
        """Every parameter under the site's root, by name, decrypted; paged, recursive.

        AWS refuses a whole page for one parameter whose key may not be used: then each secret is read on its
        own, and those that are refused are `unreadable`. Raises `AccessDeniedError` where all of them are.
        """
        ssm = self.client("ssm")
        keys = self._key_ids(ssm)
        try:
            return self._by_path(ssm, keys, decrypted=True)
        except AccessDeniedError:
            return self._one_by_one(self._by_path(ssm, keys, decrypted=False))

    def _by_path(self, ssm: Any, keys: Mapping[str, str], *, decrypted: bool) -> dict[str, Parameter]:
        found: dict[str, Parameter] = {}
        with self.told(f"reading parameters under {self.table.root}"):
            pages = ssm.get_paginator("get_parameters_by_path").paginate(
                Path=self.table.root,
                Recursive=True,
                WithDecryption=decrypted,
                PaginationConfig={"PageSize": 10},
            )
            for number, page in enumerate(pages):
                if number >= _PAGES:
                    raise AwsError(
                        f"{self.where}: more than {_PAGES} pages of parameters under {self.table.root}"
                    )
                for item in page["Parameters"]:
                    found[item["Name"]] = _parameter(item, keys.get(item["Name"]))
        return found

    def _one_by_one(self, listed: Mapping[str, Parameter]) -> dict[str, Parameter]:
        found: dict[str, Parameter] = {}
        refused: AccessDeniedError | None = None
        for name, known in listed.items():
            if not known.secret:
                found[name] = known
                continue
            try:
                found[name] = replace(self.parameter(name), key_id=known.key_id)
            except AccessDeniedError as error:
                refused = error
                found[name] = replace(known, value="", unreadable=str(error))
        if refused is not None and not any(p.secret and not p.unreadable for p in found.values()):
            raise refused
        return found

    def _key_ids(self, ssm: Any) -> dict[str, str]:
        """KMS key by parameter name; empty where the identity may read but not describe."""
        wanted = [{"Key": "Path", "Option": "Recursive", "Values": [self.table.root]}]
        found: dict[str, str] = {}
        try:
            with self.told(f"describing parameters under {self.table.root}"):
                for page in ssm.get_paginator("describe_parameters").paginate(ParameterFilters=wanted):
                    found.update({p["Name"]: p["KeyId"] for p in page["Parameters"] if p.get("KeyId")})
        except AccessDeniedError:
            return {}
        return found

    def parameter(self, name: str) -> Parameter:
        """One parameter, decrypted. Raises `NotFoundError`."""
        with self.told(f"reading parameter {name}"):
            return _parameter(
                self.client("ssm").get_parameter(Name=name, WithDecryption=True)["Parameter"], None
            )

    def put_parameter(self, name: str, value: str, *, secret: bool = False, overwrite: bool = True) -> int:
        """Write one parameter (a secret under the site's key) and return its version.

        A value of more than 4096 bytes goes into the advanced tier, which costs; more than 8192 are refused.
        """
        extra = {"KeyId": self.table.kms_key} if secret else {}
        if len(value.encode()) > _STANDARD:
            extra["Tier"] = "Advanced"
        kind = "SecureString" if secret else "String"
        with self.told(f"writing parameter {name}"):
            answer = self.client("ssm").put_parameter(
                Name=name, Value=value, Type=kind, Overwrite=overwrite, **extra
            )
        return int(answer["Version"])

    def delete_parameter(self, name: str) -> None:
        """Delete one parameter. Raises `NotFoundError` where it does not exist."""
        with self.told(f"deleting parameter {name}"):
            self.client("ssm").delete_parameter(Name=name)

    # -- identity

    def identity(self) -> Identity:
        """Account and ARN of these credentials."""
        with self.told("asking who we are"):
            answer = self.client("sts").get_caller_identity()
        return Identity(str(answer["Account"]), str(answer["Arn"]))

    def as_node_role(self, session: str = "rackproof") -> Aws:
        """The same site seen with the rights of the nodes' role (AssumeRole, 15 minutes)."""
        role = self.table.node_role
        if not role.startswith("arn:"):
            mine = self.identity()
            partition = mine.arn.split(":")[1] or "aws"
            role = f"arn:{partition}:iam::{mine.account}:role/{role}"
        with self.told(f"taking the role {self.table.node_role}"):
            answer = self.client("sts").assume_role(
                RoleArn=role, RoleSessionName=session, DurationSeconds=900
            )
        role_name = f"role {self.table.node_role}"
        return Aws(self.table, self._observer, credentials=answer["Credentials"], who=role_name)

    # -- bucket and key

    def put_object(self, key: str, data: bytes) -> None:
        """Write an object into the backup bucket."""
        with self.told(f"writing s3://{self.table.bucket}/{key}"):
            self.client("s3").put_object(Bucket=self.table.bucket, Key=key, Body=data)

    def get_object(self, key: str) -> bytes:
        """Read an object of the backup bucket. Raises `NotFoundError`."""
        with self.told(f"reading s3://{self.table.bucket}/{key}"):
            return bytes(self.client("s3").get_object(Bucket=self.table.bucket, Key=key)["Body"].read())

    def delete_object(self, key: str) -> None:
        """Delete an object of the backup bucket; it may already be gone."""
        with self.told(f"deleting s3://{self.table.bucket}/{key}"):
            self.client("s3").delete_object(Bucket=self.table.bucket, Key=key)

    def encrypt(self, data: bytes) -> bytes:
        """Encrypt up to 4096 bytes with the site's KMS key."""
        with self.told(f"encrypting with {self.table.kms_key}"):
            return bytes(
                self.client("kms").encrypt(KeyId=self.table.kms_key, Plaintext=data)["CiphertextBlob"]
            )

    def decrypt(self, blob: bytes) -> bytes:
        """Decrypt what `encrypt` returned."""
        with self.told(f"decrypting with {self.table.kms_key}"):
            return bytes(
                self.client("kms").decrypt(KeyId=self.table.kms_key, CiphertextBlob=blob)["Plaintext"]
            )

    def close(self) -> None:
        """Close the clients' connections."""
        with self._lock:
            for client in self._clients.values():
                client.close()
            self._clients.clear()

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        """Turn botocore's errors into sentences: what was tried, where, as whom. No values."""
        start = time.monotonic()
        outcome = "done"
        try:
            yield
        except ClientError as error:
            refusal = self._refusal(doing, error)
            outcome = refusal.code
            raise refusal from None
        except (HTTPClientError, NoConnectionError) as error:  # not reached, not verified, or silent
            outcome = "no answer"
            raise UnreachableError(
                f"{self.where}: no answer while {doing} (deadline {DEADLINE_S} s, {ATTEMPTS} attempts):"
                f" {_short(error)}"
            ) from None
        except BotoCoreError as error:  # no credentials, unknown profile, bad endpoint
            outcome = _short(error)
            raise AwsError(f"{self.where}: {doing} as {self.who} failed: {outcome}") from None
        finally:
            if self._observer is not None:
                self._observer("aws", f"{doing} as {self.who}", outcome, time.monotonic() - start)

    def _refusal(self, doing: str, error: ClientError) -> AwsError:
        told = error.response.get("Error", {})
        code = str(told.get("Code", ""))
        text = f"{self.where}: {doing} as {self.who} was refused: {code}"
        if code in _DENIED:
            return AccessDeniedError(text, code)
        if code in _BAD_CREDENTIALS:
            return AwsError(f"{text}; the stored AWS credentials (aws.credential_source) are not valid", code)
        if code in {
            "ParameterNotFound",
            "NoSuchKey",
            "NoSuchBucket",
            "NoSuchEntity",
            "NotFoundException",
            "404",
        }:
            return NotFoundError(text, code)
        return AwsError(f"{text}: {told.get('Message', '')}", code)


def _parameter(item: Mapping[str, Any], key_id: str | None) -> Parameter:
    return Parameter(item["Name"], item["Type"], item["Value"], int(item.get("Version", 0)), key_id)


def _short(error: Exception) -> str:
    return " ".join(str(error).split())[:300]
