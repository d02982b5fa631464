"""From an S3 REST request to the IAM actions that it needs (service authorization reference of Amazon S3)."""

from __future__ import annotations

from urllib.parse import unquote
from xml.etree import ElementTree

from lab.standins.aws.calls import Call

Needed = tuple[str, str, dict[str, tuple[str, ...]]]
"""Action, resource ARN, condition keys."""

# Subresource in the query string -> stem of the action; verbs are Get and Put (also for DELETE).
_BUCKET = {
    "policy": "BucketPolicy",
    "policyStatus": "BucketPolicyStatus",
    "versioning": "BucketVersioning",
    "publicAccessBlock": "BucketPublicAccessBlock",
    "encryption": "EncryptionConfiguration",
    "lifecycle": "LifecycleConfiguration",
    "object-lock": "BucketObjectLockConfiguration",
    "tagging": "BucketTagging",
    "acl": "BucketAcl",
    "cors": "BucketCORS",
    "logging": "BucketLogging",
    "notification": "BucketNotification",
    "ownershipControls": "BucketOwnershipControls",
    "replication": "ReplicationConfiguration",
    "website": "BucketWebsite",
    "accelerate": "AccelerateConfiguration",
    "requestPayment": "BucketRequestPayment",
}
_OBJECT = {
    "acl": "ObjectAcl",
    "tagging": "ObjectTagging",
    "retention": "ObjectRetention",
    "legal-hold": "ObjectLegalHold",
    "attributes": "ObjectAttributes",
    "torrent": "ObjectTorrent",
}


def actions(call: Call) -> list[Needed]:
    """(action, resource ARN, condition keys) for each permission that `call` needs."""
    bucket, _, key = call.path.lstrip("/").partition("/")
    if not bucket:
        return [("s3:ListAllMyBuckets", "arn:aws:s3:::*", {})]
    bucket_arn = f"arn:aws:s3:::{bucket}"
    if not key:
        return _bucket(call, bucket_arn)
    return _object(call, f"{bucket_arn}/{key}")


def _bucket(call: Call, arn: str) -> list[Needed]:
    query = call.query
    verb = "Get" if call.method in ("GET", "HEAD") else "Put"
    for name, stem in _BUCKET.items():
        if name in query:
            if call.method == "DELETE" and name in ("policy", "website"):
                verb = "Delete"
            return [(f"s3:{verb}{stem}", arn, {})]
    if "location" in query:
        return [("s3:GetBucketLocation", arn, {})]
    if "uploads" in query:
        return [("s3:ListBucketMultipartUploads", arn, {})]
    if call.method == "POST" and "delete" in query:
        return [("s3:DeleteObject", f"{arn}/{key}", {}) for key in _keys_to_delete(call.body)]
    listing = "s3:ListBucketVersions" if "versions" in query else "s3:ListBucket"
    action = {"GET": listing, "HEAD": "s3:ListBucket", "PUT": "s3:CreateBucket", "DELETE": "s3:DeleteBucket"}
    context: dict[str, tuple[str, ...]] = {"s3:prefix": (query["prefix"],)} if "prefix" in query else {}
    return [(action.get(call.method, "s3:PutObject"), arn, context)]


def _object(call: Call, arn: str) -> list[Needed]:
    query = call.query
    reading = call.method in ("GET", "HEAD")
    version = "Version" if "versionId" in query else ""
    for name, stem in _OBJECT.items():
        if name in query:
            verb = "Get" if reading else "Delete" if call.method == "DELETE" else "Put"
            if version and name in ("acl", "tagging"):
                stem = stem.replace("Object", "ObjectVersion")
            return [(f"s3:{verb}{stem}", arn, {})]
    if reading:
        action = "s3:ListMultipartUploadParts" if "uploadId" in query else f"s3:GetObject{version}"
        return [(action, arn, {})]
    if call.method == "DELETE":
        action = "s3:AbortMultipartUpload" if "uploadId" in query else f"s3:DeleteObject{version}"
        return [(action, arn, {})]
    needed: list[Needed] = [("s3:PutObject", arn, {})]
    source = call.headers.get("x-amz-copy-source", "")
    if source:
        path, _, source_version = unquote(source).lstrip("/").partition("?versionId=")
        read = "s3:GetObjectVersion" if source_version else "s3:GetObject"
        needed.append((read, f"arn:aws:s3:::{path}", {}))
    return needed


def _keys_to_delete(body: bytes) -> list[str]:
    """Keys of a DeleteObjects request; a body that is not XML needs the right on every key."""
    try:
        root = ElementTree.fromstring(body)  # noqa: S314 (of an authenticated caller, size bounded)
    except ElementTree.ParseError:
        return ["*"]
    return [node.text or "" for node in root.iter() if node.tag.rpartition("}")[2] == "Key"] or ["*"]
