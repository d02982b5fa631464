"""The role's and the key's documents are read whole from AWS's own answers, and their mistakes are named."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from cluster import role_documents
from cluster.aws import Aws, Identity
from cluster.site import load

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}],
}
RIGHTS = {
    "Version": "2012-10-17",
    "Statement": [
        {
            "Effect": "Allow",
            "Action": "ssm:GetParameter",
            "Resource": "arn:aws:ssm:us-west-2:1:parameter/pve1/*",
        }
    ],
}
KEY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "kms:*", "Resource": "*"}],
}


class FakeAws(Aws):
    """AWS whose clients answer from a table; `encoded` leaves the documents as the wire has them."""

    def __init__(self, encoded: bool) -> None:
        self.encoded = encoded

    def client(self, service: str) -> Any:
        return self

    @contextmanager
    def told(self, doing: str) -> Iterator[None]:
        yield

    def identity(self) -> Identity:
        return Identity("1", "arn:aws:iam::1:user/operator")

    def _doc(self, document: dict[str, Any]) -> Any:
        return quote(json.dumps(document)) if self.encoded else document

    def get_role(self, **_: Any) -> Any:
        return {"Role": {"AssumeRolePolicyDocument": self._doc(TRUST)}}

    def list_role_policies(self, **_: Any) -> Any:
        return {"PolicyNames": ["inline"]}

    def get_role_policy(self, **_: Any) -> Any:
        return {"PolicyDocument": self._doc(RIGHTS)}

    def list_attached_role_policies(self, **_: Any) -> Any:
        return {"AttachedPolicies": [{"PolicyArn": "arn:aws:iam::1:policy/attached"}]}

    def get_policy(self, **_: Any) -> Any:
        return {"Policy": {"DefaultVersionId": "v2"}}

    def get_policy_version(self, **arguments: Any) -> Any:
        assert arguments["VersionId"] == "v2", "the version in force is read, not the first"
        return {"PolicyVersion": {"Document": self._doc(RIGHTS)}}

    def describe_key(self, **_: Any) -> Any:
        return {"KeyMetadata": {"KeyId": "k", "Arn": "arn:aws:kms:us-west-2:1:key/k"}}

    def get_key_policy(self, **_: Any) -> Any:
        return {"Policy": json.dumps(KEY)}


@pytest.mark.parametrize("encoded", [False, True], ids=["decoded", "url-encoded"])
def test_the_documents_are_read_and_their_mistakes_named(encoded: bool) -> None:
    site = load(Path("sites/lab.toml"))
    documents = role_documents.read(FakeAws(encoded), site)
    assert documents.trust == TRUST
    assert documents.rights == (RIGHTS, RIGHTS)
    assert documents.scope.account == "1"
    found = role_documents.lint(documents, site)
    assert [f for f in found if f.severity == "error"], "anybody may take the role: that is an error"
