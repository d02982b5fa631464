"""boto3 clients that reach a WSGI application without a network: seeding and fast tests."""

from __future__ import annotations

import io
from collections.abc import Iterator
from typing import Any

import boto3
from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.compat import HTTPHeaders
from botocore.config import Config
from werkzeug.test import EnvironBuilder, run_wsgi_app

from lab.standins.aws.gate import Application

ENDPOINT = "https://localhost"


class _Raw(io.BytesIO):
    """What botocore expects of urllib3's response."""

    def stream(self, size: int = 65536, **_: Any) -> Iterator[bytes]:
        while chunk := self.read(size):
            yield chunk


def client(
    application: Application,
    service: str,
    *,
    region: str,
    access_key: str,
    secret: str,
    token: str | None = None,
) -> Any:
    """A boto3 client whose requests go straight into `application`, signed as over the wire."""
    session: Any = boto3.session.Session(
        aws_access_key_id=access_key,
        aws_secret_access_key=secret,
        aws_session_token=token,
        region_name=region,
    )
    made = session.client(service, endpoint_url=ENDPOINT, config=Config(s3={"addressing_style": "path"}))

    def send(request: AWSPreparedRequest, **_: Any) -> AWSResponse:
        given: Any = request.body
        body = given.read() if hasattr(given, "read") else given
        target = request.url.removeprefix(ENDPOINT) or "/"
        builder = EnvironBuilder(
            path=target,
            base_url=ENDPOINT,
            method=request.method,
            data=body or b"",
            headers=[(name, _text(value)) for name, value in request.headers.items()],
        )
        environ = builder.get_environ()
        environ["RAW_URI"] = target
        chunks, status, headers = run_wsgi_app(application, environ)
        return AWSResponse(
            request.url, int(status.split()[0]), HTTPHeaders.from_dict(dict(headers)), _Raw(b"".join(chunks))
        )

    made.meta.events.register("before-send", send)
    return made


def _text(value: Any) -> str:
    return value.decode() if isinstance(value, bytes) else str(value)
