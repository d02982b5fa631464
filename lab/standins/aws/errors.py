"""Refusals in the shape in which each AWS protocol reports them."""

from __future__ import annotations

import json
import uuid
from xml.sax.saxutils import escape

# Service-specific names of one and the same refusal, by protocol.
_CODES = {
    "AccessDenied": {"json": "AccessDeniedException"},
    "InvalidClientTokenId": {"json": "UnrecognizedClientException", "rest-xml": "InvalidAccessKeyId"},
    "SignatureDoesNotMatch": {"json": "InvalidSignatureException"},
    "MissingAuthenticationToken": {"json": "MissingAuthenticationTokenException", "rest-xml": "AccessDenied"},
    "ExpiredToken": {"json": "ExpiredTokenException"},
    "IncompleteSignature": {
        "json": "IncompleteSignatureException",
        "rest-xml": "AuthorizationHeaderMalformed",
    },
}
_FORBIDDEN = frozenset(
    {
        "AccessDenied",
        "InvalidClientTokenId",
        "SignatureDoesNotMatch",
        "MissingAuthenticationToken",
        "ExpiredToken",
    }
)


class Refusal(Exception):  # noqa: N818 (the gate's word)
    """The gate's answer instead of moto's: a code, a sentence and an HTTP status.

    `code` is the query-protocol name; the json protocol has its own names and always answers 400.
    """

    def __init__(self, code: str, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = status if status is not None else (403 if code in _FORBIDDEN else 400)


def render(
    refusal: Refusal, protocol: str, *, resource: str = "", head: bool = False
) -> tuple[int, str, bytes]:
    """HTTP status, content type and body of `refusal` in `protocol` (json, query or rest-xml)."""
    code = _CODES.get(refusal.code, {}).get(protocol, refusal.code)
    request_id = str(uuid.uuid4())
    if protocol == "json":
        # SSM and Secrets Manager write "Message", KMS "message"; clients accept both, as botocore does.
        body = json.dumps({"__type": code, "message": refusal.message, "Message": refusal.message})
        return 400 if refusal.status == 403 else refusal.status, "application/x-amz-json-1.1", body.encode()
    if protocol == "query":
        body = (
            "<ErrorResponse><Error><Type>Sender</Type>"
            f"<Code>{escape(code)}</Code><Message>{escape(refusal.message)}</Message></Error>"
            f"<RequestId>{request_id}</RequestId></ErrorResponse>"
        )
        return refusal.status, "text/xml", body.encode()
    body = (
        '<?xml version="1.0" encoding="UTF-8"?>\n'
        f"<Error><Code>{escape(code)}</Code><Message>{escape(refusal.message)}</Message>"
        f"<Resource>{escape(resource)}</Resource><RequestId>{request_id}</RequestId></Error>"
    )
    return refusal.status, "application/xml", b"" if head else body.encode()
