"""Which actions on which resources a call needs, as the AWS service authorization reference lists them.

An operation that is not listed here needs `<service>:<operation>` on "*": what no statement names is refused.
"""

from __future__ import annotations

import base64
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from moto.kms.models import KmsBackend, kms_backends
from moto.kms.utils import _deserialize_ciphertext_blob as deserialize_ciphertext
from moto.secretsmanager.models import FakeSecret, secretsmanager_backends
from moto.ssm.models import Parameter, ssm_backends

from lab.standins.aws import s3_actions
from lab.standins.aws.accounts import ACCOUNT
from lab.standins.aws.calls import Call

Context = Mapping[str, tuple[str, ...]]
DEFAULT_KEY = "alias/aws/ssm"


@dataclass(frozen=True)
class Access:
    """One permission that a call needs. `hidden` is answered instead of naming the key, as SSM does."""

    action: str
    resource: str
    context: Context = field(default_factory=dict)
    hidden: str = ""


NO_KEY = (
    "The ciphertext refers to a customer master key that does not exist, does not exist in this region, "
    "or you are not allowed to access."
)


def needed(call: Call) -> list[Access]:
    """Every permission that `call` needs; all of them must be allowed."""
    if call.service == "s3":
        return [Access(action, resource, context) for action, resource, context in s3_actions.actions(call)]
    rule = _RULES.get(call.service)
    if rule is not None:
        return rule(call)
    return [Access(f"{call.service}:{call.operation}", "*")]


# --- Systems Manager parameters -----------------------------------------------------------------------------


def parameter_arn(region: str, name: str) -> str:
    """`/pve1/x` and `x` both stand behind `parameter/`; an ARN stays what it is."""
    return name if name.startswith("arn:") else f"arn:aws:ssm:{region}:{ACCOUNT}:parameter/{name.lstrip('/')}"


def stored(region: str, name: str) -> Parameter | None:
    """The newest version of a parameter in moto's store. A version or label behind `:` is ignored."""
    if name.startswith("arn:"):
        name = name.partition(":parameter")[2]
    name = name.partition(":")[0]
    versions = ssm_backends[ACCOUNT][region]._parameters
    return versions[name][-1] if name in versions else None


def below(region: str, path: str, recursive: bool) -> list[Parameter]:
    """Newest version of every parameter under a path."""
    prefix = path.rstrip("/") + "/"
    versions = ssm_backends[ACCOUNT][region]._parameters
    names = [name for name in list(versions) if name.startswith(prefix)]
    return [versions[name][-1] for name in names if recursive or "/" not in name[len(prefix) :]]


_ON_NAME = {
    "GetParameter",
    "GetParameterHistory",
    "DeleteParameter",
    "LabelParameterVersion",
    "UnlabelParameterVersion",
}
_ON_NAMES = {"GetParameters", "DeleteParameters"}
_ON_TAGS = {"AddTagsToResource", "RemoveTagsFromResource", "ListTagsForResource"}


def _ssm(call: Call) -> list[Access]:
    operation, params, region = call.operation, call.params, call.region
    action = f"ssm:{operation}"
    if operation == "PutParameter":
        return _put_parameter(call)
    if operation == "GetParametersByPath":
        path = str(params.get("Path", ""))
        recursive = bool(params.get("Recursive"))
        context = {"ssm:recursive": (str(recursive).lower(),)}
        access = [Access(action, parameter_arn(region, path), context)]
        return access + _decrypts(call, below(region, path, recursive))
    if operation in _ON_NAME | _ON_NAMES:
        names = (
            [str(params.get("Name", ""))]
            if operation in _ON_NAME
            else list(map(str, params.get("Names", [])))
        )
        access = [Access(action, parameter_arn(region, name.partition(":")[0])) for name in names]
        return access + _decrypts(call, [p for name in names if (p := stored(region, name)) is not None])
    if operation in _ON_TAGS and params.get("ResourceType") == "Parameter":
        return [Access(action, parameter_arn(region, str(params.get("ResourceId", ""))))]
    if operation == "DescribeParameters":
        return [Access(action, f"arn:aws:ssm:{region}:{ACCOUNT}:*")]
    return [Access(action, "*")]


def _put_parameter(call: Call) -> list[Access]:
    params, region = call.params, call.region
    arn = parameter_arn(region, str(params.get("Name", "")))
    overwrite = str(bool(params.get("Overwrite"))).lower()
    access = [Access("ssm:PutParameter", arn, {"ssm:overwrite": (overwrite,)})]
    if params.get("Tags"):
        access.append(Access("ssm:AddTagsToResource", arn))
    if params.get("Type") == "SecureString":
        key = key_arn(region, str(params.get("KeyId") or DEFAULT_KEY))
        access.append(Access("kms:Encrypt", key, _via("ssm", region, arn)))
        if params.get("Tier") == "Advanced":
            access.append(Access("kms:GenerateDataKey", key, _via("ssm", region, arn)))
    return access


def _decrypts(call: Call, parameters: list[Parameter]) -> list[Access]:
    if not call.params.get("WithDecryption"):
        return []
    return [
        Access(
            "kms:Decrypt",
            key_arn(call.region, parameter.keyid or DEFAULT_KEY),
            _via("ssm", call.region, parameter_arn(call.region, parameter.name)),
            hidden=NO_KEY,
        )
        for parameter in parameters
        if parameter.parameter_type == "SecureString"
    ]


def _via(service: str, region: str, arn: str) -> Context:
    context_key = "PARAMETER_ARN" if service == "ssm" else "SecretARN"
    return {
        "kms:viaservice": (f"{service}.{region}.amazonaws.com",),
        "kms:calleraccount": (ACCOUNT,),
        f"kms:encryptioncontext:{context_key.lower()}": (arn,),
    }


# --- keys, secrets ------------------------------------------------------------------------------------------


def kms(region: str) -> KmsBackend:
    """moto's KMS of the account in a region."""
    return kms_backends[ACCOUNT][region]


def key_arn(region: str, key_id: str) -> str:
    """ARN of the key behind an id, ARN, alias or alias ARN; one that does not exist keeps its name."""
    resolved = resolve_key(region, key_id)
    if resolved is not None:
        return str(kms(region).keys[resolved].arn)
    return key_id if key_id.startswith("arn:") else f"arn:aws:kms:{region}:{ACCOUNT}:key/{key_id}"


def resolve_key(region: str, key_id: str) -> str | None:
    """Bare id of the key behind an id, ARN, alias or alias ARN; None when there is none."""
    backend = kms(region)
    bare = backend.get_key_id(backend.get_alias_name(key_id))
    if bare.startswith("alias/"):
        # moto makes an AWS managed key when its reserved alias is first asked for
        bare = backend.get_key_id(backend.get_key_id_from_alias(bare) or "")
    return bare if bare in backend.keys else None


def _kms(call: Call) -> list[Access]:
    params, region = call.params, call.region
    context: dict[str, tuple[str, ...]] = {
        f"kms:encryptioncontext:{name.lower()}": (str(value),)
        for name, value in dict(params.get("EncryptionContext") or {}).items()
    }
    context["kms:calleraccount"] = (ACCOUNT,)
    key_id = str(params.get("KeyId") or params.get("TargetKeyId") or "")
    if call.operation == "Decrypt":
        key_id = _key_of_ciphertext(str(params.get("CiphertextBlob", ""))) or key_id
    if key_id:
        return [Access(f"kms:{call.operation}", key_arn(region, key_id), context)]
    return [Access(f"kms:{call.operation}", "*", context)]


def _key_of_ciphertext(blob: str) -> str:
    try:
        return str(deserialize_ciphertext(base64.b64decode(blob)).key_id)
    except ValueError:
        return ""


def _secretsmanager(call: Call) -> list[Access]:
    region = call.region
    action = f"secretsmanager:{call.operation}"
    named = str(call.params.get("SecretId") or call.params.get("Name") or "")
    if not named:
        return [Access(action, "*")]
    backend = secretsmanager_backends[ACCOUNT][region]
    arn = named if named.startswith("arn:") else f"arn:aws:secretsmanager:{region}:{ACCOUNT}:secret:{named}"
    access = [Access(action, arn)]
    secret = backend.secrets.get(named)
    if isinstance(secret, FakeSecret):
        access = [Access(action, str(secret.arn))]
        if call.operation in ("GetSecretValue", "PutSecretValue") and secret.kms_key_id:
            operation = "kms:Decrypt" if call.operation == "GetSecretValue" else "kms:GenerateDataKey"
            key = key_arn(region, str(secret.kms_key_id))
            access.append(Access(operation, key, _via("secretsmanager", region, str(secret.arn))))
    return access


# --- identity, metrics, logs --------------------------------------------------------------------------------


def _iam(call: Call) -> list[Access]:
    params = call.params
    prefix = f"arn:aws:iam::{ACCOUNT}"
    for parameter, kind in (
        ("RoleName", "role"),
        ("UserName", "user"),
        ("GroupName", "group"),
        ("InstanceProfileName", "instance-profile"),
    ):
        if params.get(parameter):
            return [Access(f"iam:{call.operation}", f"{prefix}:{kind}/{params[parameter]}")]
    return [Access(f"iam:{call.operation}", str(params.get("PolicyArn") or "*"))]


def _monitoring(call: Call) -> list[Access]:
    context = {"cloudwatch:namespace": (str(call.params.get("Namespace", "")),)}
    return [Access(f"cloudwatch:{call.operation}", "*", context)]


def _logs(call: Call) -> list[Access]:
    group = str(call.params.get("logGroupName") or call.params.get("logGroupNamePrefix") or "*")
    stream = call.params.get("logStreamName")
    suffix = f":log-stream:{stream}" if stream else ":*"
    return [
        Access(f"logs:{call.operation}", f"arn:aws:logs:{call.region}:{ACCOUNT}:log-group:{group}{suffix}")
    ]


_RULES: dict[str, Callable[[Call], list[Access]]] = {
    "ssm": _ssm,
    "kms": _kms,
    "secretsmanager": _secretsmanager,
    "iam": _iam,
    "monitoring": _monitoring,
    "logs": _logs,
}
