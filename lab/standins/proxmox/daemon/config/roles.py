"""The roles of Proxmox VE 9 and their privileges (PVE::AccessControl)."""

from __future__ import annotations

_DATASTORE = (
    "Datastore.Allocate",
    "Datastore.AllocateSpace",
    "Datastore.AllocateTemplate",
    "Datastore.Audit",
)
_VM_USER = (
    "VM.Audit", "VM.Backup", "VM.Config.CDROM", "VM.Config.Cloudinit", "VM.Console", "VM.GuestAgent.Audit",
    "VM.PowerMgmt",
)  # fmt: skip
_VM = (
    *_VM_USER, "VM.Allocate", "VM.Clone", "VM.Config.CPU", "VM.Config.Disk", "VM.Config.HWType",
    "VM.Config.Memory", "VM.Config.Network", "VM.Config.Options", "VM.GuestAgent.FileRead",
    "VM.GuestAgent.FileSystemMgmt", "VM.GuestAgent.FileWrite", "VM.GuestAgent.Unrestricted", "VM.Migrate",
    "VM.Replicate", "VM.Snapshot", "VM.Snapshot.Rollback",
)  # fmt: skip
_SDN = ("SDN.Allocate", "SDN.Audit", "SDN.Use")
_AUDIT = (
    "Datastore.Audit", "Mapping.Audit", "Pool.Audit", "SDN.Audit", "Sys.Audit", "VM.Audit",
    "VM.GuestAgent.Audit",
)  # fmt: skip
#: what even PVEAdmin does not have
_ROOT = (
    "Mapping.Modify", "Permissions.Modify", "Realm.Allocate", "Sys.AccessNetwork", "Sys.Incoming",
    "Sys.Modify", "Sys.PowerMgmt",
)  # fmt: skip
_ADMIN = (
    *_DATASTORE, *_VM, *_SDN, "Group.Allocate", "Mapping.Audit", "Mapping.Use", "Pool.Allocate", "Pool.Audit",
    "Realm.AllocateUser", "Sys.Audit", "Sys.Console", "Sys.Syslog", "User.Modify",
)  # fmt: skip

ALL = tuple(sorted({*_ADMIN, *_ROOT}))
ROLES: dict[str, tuple[str, ...]] = {
    "Administrator": ALL,
    "NoAccess": (),
    "PVEAdmin": tuple(sorted(_ADMIN)),
    "PVEAuditor": _AUDIT,
    "PVEDatastoreAdmin": _DATASTORE,
    "PVEDatastoreUser": ("Datastore.AllocateSpace", "Datastore.Audit"),
    "PVEMappingAdmin": ("Mapping.Audit", "Mapping.Modify", "Mapping.Use"),
    "PVEMappingAudit": ("Mapping.Audit",),
    "PVEMappingUser": ("Mapping.Audit", "Mapping.Use"),
    "PVEPoolAdmin": ("Pool.Allocate", "Pool.Audit"),
    "PVEPoolUser": ("Pool.Audit",),
    "PVESDNAdmin": _SDN,
    "PVESDNUser": ("SDN.Audit", "SDN.Use"),
    "PVESysAdmin": ("Sys.Audit", "Sys.Console", "Sys.Syslog"),
    "PVETemplateUser": ("VM.Audit", "VM.Clone"),
    "PVEUserAdmin": ("Group.Allocate", "Realm.AllocateUser", "User.Modify"),
    "PVEVMAdmin": tuple(sorted(_VM)),
    "PVEVMUser": _VM_USER,
}
