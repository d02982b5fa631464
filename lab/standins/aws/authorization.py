"""The decision about a call: identity policies with trust, key and bucket policies, as AWS joins them."""

from __future__ import annotations

from collections.abc import Iterable

from moto.s3.models import s3_backends

from lab.standins.aws.accounts import ACCOUNT, PARTITION, Caller, iam
from lab.standins.aws.calls import Call
from lab.standins.aws.errors import Refusal
from lab.standins.aws.permissions import Access, Context, kms, needed
from lab.standins.aws.policy import Decision, Document, PolicyError, Request, evaluate, parse

ALWAYS_ALLOWED = frozenset({"sts:GetCallerIdentity"})
"""AWS answers this to anybody who is authenticated, even against an explicit deny."""


def authorize(call: Call, caller: Caller) -> None:
    """Allow `call` or raise Refusal (AccessDenied) with the sentence that AWS would answer."""
    if call.service == "sts":
        _authorize_sts(call, caller)
        return
    if caller.is_root:
        return
    for access in needed(call):
        _require(access, caller, call)


def _require(access: Access, caller: Caller, call: Call) -> None:
    request = Request(
        access.action, access.resource, {**_global_context(call, caller), **access.context}, caller.names
    )
    try:
        identity = evaluate(caller.documents, request)
        resource = _resource_decision(access, request)
    except PolicyError as error:
        raise Refusal("AccessDenied", f"a policy cannot be evaluated: {error}") from error
    if Decision.EXPLICIT_DENY in (identity, resource):
        kind = "identity-based" if identity is Decision.EXPLICIT_DENY else "resource-based"
        raise _denied(caller, access, f"with an explicit deny in a {kind} policy")
    if resource is Decision.ALLOW:
        return
    if identity is not Decision.ALLOW or not _delegated(access):
        raise _denied(caller, access, f"because no identity-based policy allows the {access.action} action")


def _denied(caller: Caller, access: Access, why: str) -> Refusal:
    what = f"{access.action} on resource: {access.resource}"
    text = f"User: {caller.arn} is not authorized to perform: {what} {why}"
    return Refusal("AccessDenied", access.hidden or text)


def _global_context(call: Call, caller: Caller) -> Context:
    context: dict[str, tuple[str, ...]] = {
        "aws:principalarn": (caller.arn,),
        "aws:principalaccount": (ACCOUNT,),
        "aws:sourceip": (call.source_address,),
        "aws:securetransport": ("true",),
        "aws:requestedregion": (call.region,),
    }
    if caller.user_name:
        context["aws:username"] = (caller.user_name,)
    return context


# --- policies that hang on a resource -----------------------------------------------------------------------


def _resource_decision(access: Access, request: Request) -> Decision:
    documents = list(_resource_documents(access))
    return evaluate(documents, request, resource_policy=True)


def _resource_documents(access: Access) -> Iterable[Document]:
    if access.resource.startswith("arn:aws:s3:::"):
        bucket = access.resource.removeprefix("arn:aws:s3:::").partition("/")[0]
        held = s3_backends[ACCOUNT][PARTITION].buckets.get(bucket)
        if held is not None and held.policy:
            yield parse(held.policy.decode() if isinstance(held.policy, bytes) else held.policy)
    elif access.resource.startswith("arn:aws:kms:"):
        key = _key(access.resource)
        if key is not None:
            yield parse(key)


def _key(arn: str) -> str | None:
    region, key_id = arn.split(":")[3], arn.rpartition("/")[2]
    held = kms(region).keys.get(key_id)
    return str(held.policy) if held is not None else None


def _delegated(access: Access) -> bool:
    """An identity policy opens a KMS key only where the key policy lets the account delegate."""
    if not access.resource.startswith("arn:aws:kms:"):
        return True
    text = _key(access.resource)
    if text is None:
        return True  # no such key: the service itself answers NotFound
    account = frozenset({f"AWS:arn:aws:iam::{ACCOUNT}:root", f"AWS:{ACCOUNT}"})
    request = Request(access.action, access.resource, access.context, account)
    return evaluate([parse(text)], request, resource_policy=True) is Decision.ALLOW


# --- STS ----------------------------------------------------------------------------------------------------


def _authorize_sts(call: Call, caller: Caller) -> None:
    action = f"sts:{call.operation}"
    if action in ALWAYS_ALLOWED:
        return
    if call.operation != "AssumeRole":
        if not caller.is_root:
            _require(Access(action, "*"), caller, call)
        return
    _authorize_assume_role(call, caller)


def _authorize_assume_role(call: Call, caller: Caller) -> None:
    """The trust policy must name the caller; where it names the account, the caller needs sts:AssumeRole."""
    role_arn = str(call.params.get("RoleArn", ""))
    access = Access("sts:AssumeRole", role_arn)
    refusal = _denied(caller, access, "").message.rstrip()
    held = next((role for role in iam().roles.values() if role.arn == role_arn), None)
    if held is None or caller.is_root:
        raise Refusal("AccessDenied", refusal)  # AWS lets no root user assume a role
    context: dict[str, tuple[str, ...]] = {**_global_context(call, caller)}
    if call.params.get("ExternalId"):
        context["sts:externalid"] = (str(call.params["ExternalId"]),)
    trust = [parse(held.assume_role_policy_document)]
    request = Request("sts:AssumeRole", role_arn, context, caller.names)
    try:
        identity = evaluate(caller.documents, request)
        direct = evaluate(trust, request, resource_policy=True)
        account = frozenset({f"AWS:arn:aws:iam::{ACCOUNT}:root", f"AWS:{ACCOUNT}"})
        of_account = evaluate(
            trust, Request("sts:AssumeRole", role_arn, context, account), resource_policy=True
        )
    except PolicyError as error:
        raise Refusal("AccessDenied", f"a policy cannot be evaluated: {error}") from error
    if Decision.EXPLICIT_DENY in (identity, direct):
        raise Refusal("AccessDenied", f"{refusal} with an explicit deny")
    by_account = of_account is Decision.ALLOW and identity is Decision.ALLOW
    if direct is not Decision.ALLOW and not by_account:
        raise Refusal("AccessDenied", refusal)
