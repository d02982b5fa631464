# What one node says of the cluster, for phase 3. Only reads; of the key only its SHA-256. Whatever is absent on a node
# outside a cluster stays empty. Not read by the shell itself, which takes byte by byte: each would be asked of the cluster's
# file system.
show() { [ -r "$1" ] && cat "$1"; }
section conf; show /etc/pve/corosync.conf
section local; show /etc/corosync/corosync.conf
section key; [ -e /etc/corosync/authkey ] && sha256sum < /etc/corosync/authkey && stat -c %a /etc/corosync/authkey
section members; show /etc/pve/.members
section mode; stat -c %a /etc/pve
section options; show /etc/pve/datacenter.cfg
section authority; show /etc/pve/pve-root-ca.pem
section files
cd /etc/pve && sha256sum corosync.conf datacenter.cfg storage.cfg user.cfg domains.cfg pve-root-ca.pem ceph.conf 2>/dev/null
cd /
section folders
for d in /etc/pve/nodes/*/; do
  [ -d "$d" ] || continue
  guests=
  for f in "$d"lxc/*.conf "$d"qemu-server/*.conf; do
    [ -e "$f" ] && f=${f##*/} && guests="$guests ${f%.conf}"
  done
  d=${d%/}; echo "${d##*/}$guests"
done
section services; systemctl show -p LoadState -p ActiveState -p UnitFileState $RACKPROOF_SERVICES
section quorum; corosync-quorumtool -s 2>/dev/null
section cmap; corosync-cmapctl totem. quorum. runtime.config.totem. 2>/dev/null
section links; corosync-cmapctl -m stats stats.knet. 2>/dev/null
section clock; chronyc -c tracking 2>/dev/null
