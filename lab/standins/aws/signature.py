"""Verification of Signature Version 4 with botocore's own signer."""

from __future__ import annotations

import datetime
import hashlib
import hmac

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.compat import HTTPHeaders
from botocore.credentials import Credentials

from lab.standins.aws.calls import Call, Credential
from lab.standins.aws.errors import Refusal

MAX_SKEW_S = 900.0
"""AWS refuses a request whose X-Amz-Date is further than this from its own clock (SigV4: 15 minutes for S3
and 5 for most others; the wider is used)."""


class _Verifier(SigV4Auth):
    """Signs what the client said that it signed, of the path as it came over the wire."""

    def __init__(self, secret: str, scope: Credential) -> None:
        super().__init__(Credentials(scope.access_key, secret), scope.service, scope.region)
        self._scope = scope

    def headers_to_sign(self, request: AWSRequest) -> HTTPHeaders:
        headers = HTTPHeaders()
        for name in self._scope.signed_headers:
            headers[name] = request.headers.get(name, "")
        return headers

    def _normalize_url_path(self, path: str) -> str:
        # S3 signs the path as it is on the wire; the other services here use only "/".
        return path


def verify(call: Call, secret: str, now: datetime.datetime) -> None:
    """Check the signature of `call` against `secret`.

    Raises Refusal when the date is off by more than MAX_SKEW_S or the signature differs.
    """
    scope = call.credential
    if scope is None:
        raise Refusal("MissingAuthenticationToken", "Missing Authentication Token")
    stamp = call.headers.get("x-amz-date", "")
    _check_date(stamp, scope.date, now, call.service)
    _check_payload_hash(call)
    query = f"?{call.raw_query}" if call.raw_query else ""
    request = AWSRequest(
        method=call.method,
        url=f"https://{call.headers.get('host', '')}{call.raw_path}{query}",
        data=call.body,
        headers=dict(call.headers),
    )
    request.context["timestamp"] = stamp
    verifier = _Verifier(secret, scope)
    expected = verifier.signature(
        verifier.string_to_sign(request, verifier.canonical_request(request)), request
    )
    if not hmac.compare_digest(expected, scope.signature):
        raise Refusal(
            "SignatureDoesNotMatch",
            "The request signature we calculated does not match the signature you provided. "
            "Check your AWS Secret Access Key and signing method.",
        )


def _check_date(stamp: str, scope_date: str, now: datetime.datetime, service: str) -> None:
    try:
        sent = datetime.datetime.strptime(stamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
    except ValueError as error:
        raise Refusal("IncompleteSignature", "X-Amz-Date must be yyyymmddThhmmssZ", 400) from error
    if not stamp.startswith(scope_date):
        raise Refusal(
            "SignatureDoesNotMatch", "Date in Credential scope does not match YYYYMMDD from X-Amz-Date."
        )
    skew = (now - sent).total_seconds()
    if abs(skew) > MAX_SKEW_S:
        if service == "s3":
            raise Refusal(
                "RequestTimeTooSkewed",
                "The difference between the request time and the current time is too large.",
                403,
            )
        word = "expired" if skew > 0 else "not yet current"
        raise Refusal(
            "SignatureDoesNotMatch", f"Signature {word}: {stamp} is {abs(skew):.0f} s from the current time"
        )


def _check_payload_hash(call: Call) -> None:
    """A literal hash must be the body's; UNSIGNED-PAYLOAD and the STREAMING ones say nothing of it."""
    claimed = call.headers.get("x-amz-content-sha256", "")
    if len(claimed) == 64 and claimed != hashlib.sha256(call.body).hexdigest():
        raise Refusal(
            "XAmzContentSHA256Mismatch", "The provided 'x-amz-content-sha256' header does not match.", 400
        )
