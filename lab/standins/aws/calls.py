"""What an HTTP request to AWS asks for: service, operation and parameters, whatever the wire protocol."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from lab.standins.aws.errors import Refusal

Environ = dict[str, Any]
MAX_BODY_BYTES = 256 * 1024 * 1024
"""A PBS chunk is at most 16 MiB and a multipart part of the lab never more than this."""


@dataclass(frozen=True)
class Credential:
    """Credential scope of a SigV4 Authorization header."""

    access_key: str
    date: str
    region: str
    service: str
    signed_headers: tuple[str, ...]
    signature: str


@dataclass(frozen=True)
class Call:
    """One request, parsed. `operation` is the API operation (`GetParameter`); for S3 it is empty."""

    method: str
    raw_path: str
    raw_query: str
    headers: Mapping[str, str]
    body: bytes
    source_address: str
    credential: Credential | None
    service: str
    protocol: str
    operation: str
    params: Mapping[str, Any] = field(default_factory=dict)

    @property
    def region(self) -> str:
        """Region of the credential scope."""
        return self.credential.region if self.credential else "us-west-2"

    @property
    def query(self) -> dict[str, str]:
        """Query string, blank values kept (S3 names subresources so)."""
        return {name: values[0] for name, values in parse_qs(self.raw_query, keep_blank_values=True).items()}

    @property
    def path(self) -> str:
        """Path with percent escapes resolved."""
        return unquote(self.raw_path)


TARGETS = {
    "AmazonSSM": "ssm",
    "TrentService": "kms",
    "secretsmanager": "secretsmanager",
    "Logs_20140328": "logs",
    "GraniteServiceVersion20100801": "monitoring",
}
QUERY_SERVICES = frozenset({"iam", "sts", "monitoring", "sns", "ec2"})


def parse(environ: Environ) -> Call:
    """Read a WSGI request; the body is put back so that moto can read it again.

    Raises Refusal when the request is larger than MAX_BODY_BYTES or its body is not what its protocol says.
    """
    body = _read_body(environ)
    headers = {
        name[5:].replace("_", "-").lower(): str(value)
        for name, value in environ.items()
        if name.startswith("HTTP_")
    }
    for name in ("CONTENT_TYPE", "CONTENT_LENGTH"):
        if environ.get(name):
            headers[name.replace("_", "-").lower()] = str(environ[name])
    uri = urlsplit(str(environ.get("RAW_URI") or environ.get("REQUEST_URI") or environ["PATH_INFO"]))
    credential = _credential(headers.get("authorization", ""))
    service, protocol, operation, params = _operation(headers, credential, body)
    return Call(
        method=environ["REQUEST_METHOD"],
        raw_path=uri.path or "/",
        raw_query=uri.query or environ.get("QUERY_STRING", ""),
        headers=headers,
        body=body,
        source_address=environ.get("REMOTE_ADDR", ""),
        credential=credential,
        service=service,
        protocol=protocol,
        operation=operation,
        params=params,
    )


def _read_body(environ: Environ) -> bytes:
    stream = environ["wsgi.input"]
    length = environ.get("CONTENT_LENGTH")
    if length:
        if int(length) > MAX_BODY_BYTES:
            raise Refusal("EntityTooLarge", "Your proposed upload exceeds the maximum allowed size", 400)
        body = stream.read(int(length))
    elif environ.get("wsgi.input_terminated"):
        body = stream.read(MAX_BODY_BYTES)
    else:
        body = b""
    environ["wsgi.input"] = io.BytesIO(body)
    return bytes(body)


def _credential(header: str) -> Credential | None:
    """`AWS4-HMAC-SHA256 Credential=AKID/20261120/us-west-2/ssm/aws4_request, SignedHeaders=.., ..`."""
    scheme, _, rest = header.partition(" ")
    if scheme != "AWS4-HMAC-SHA256":
        return None
    fields = dict(part.strip().split("=", 1) for part in rest.split(",") if "=" in part)
    scope = fields.get("Credential", "").split("/")
    if len(scope) != 5 or scope[4] != "aws4_request":
        raise Refusal(
            "IncompleteSignature",
            "Credential must be <access key>/<date>/<region>/<service>/aws4_request",
            400,
        )
    return Credential(
        access_key=scope[0],
        date=scope[1],
        region=scope[2],
        service=scope[3],
        signed_headers=tuple(fields.get("SignedHeaders", "").split(";")),
        signature=fields.get("Signature", ""),
    )


def _operation(
    headers: Mapping[str, str], credential: Credential | None, body: bytes
) -> tuple[str, str, str, Mapping[str, Any]]:
    target = headers.get("x-amz-target", "")
    if target:
        prefix, _, operation = target.partition(".")
        service = TARGETS.get(prefix, credential.service if credential else prefix.lower())
        return service, "json", operation, _json(body)
    service = credential.service if credential else ""
    form = headers.get("content-type", "").startswith("application/x-www-form-urlencoded")
    if service in QUERY_SERVICES or (not service and form):
        fields = {name: values[0] for name, values in parse_qs(body.decode("utf-8", "replace")).items()}
        return service or "sts", "query", fields.get("Action", ""), fields
    return service or "s3", "rest-xml", "", {}


def _json(body: bytes) -> Mapping[str, Any]:
    try:
        params = json.loads(body or b"{}")
    except ValueError as error:
        raise Refusal("SerializationException", "The request body is not JSON", 400) from error
    if not isinstance(params, dict):
        raise Refusal("SerializationException", "The request body is not a JSON object", 400)
    return params
