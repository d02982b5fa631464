# What one node says of its storage, for phase 4. Only reads; JSON where a tool offers it. The inspection of drives and
# the serial numbers to inspect are put in by observation.py.
section packages; dpkg-query -W -f '${db:Status-Abbrev} ${Package} ${Version}\n' ceph-mon ceph-mgr ceph-osd ceph-mds ceph-volume ceph-common 2>/dev/null
section repository; cat /etc/apt/sources.list.d/ceph.sources 2>/dev/null
section conf; cat /etc/pve/ceph.conf 2>/dev/null
section link; readlink /etc/ceph/ceph.conf
section daemons; for d in /var/lib/ceph/mon/ceph-* /var/lib/ceph/mgr/ceph-* /var/lib/ceph/mds/ceph-*; do [ -e "$d/keyring" ] || continue; case $d in */mon/*) [ -e "$d/store.db/CURRENT" ] || continue;; esac; echo "${d#/var/lib/ceph/}"; done
section units; systemctl list-units --all --full --plain --no-legend 'ceph-mon@*' 'ceph-mgr@*' 'ceph-mds@*' 'ceph-osd@*'
section lvs; command -v lvs >/dev/null && lvs --reportformat json -o vg_name,lv_name,lv_path,lv_tags,devices 2>/dev/null
section pvs; command -v pvs >/dev/null && pvs --reportformat json -o pv_name,vg_name 2>/dev/null
section busy; pgrep -c -f 'ceph-volume|ceph-osd .*--mkfs'
section key; sed -n 's/^[[:space:]]*key = //p' /etc/pve/priv/ceph.client.admin.keyring 2>/dev/null | tr -d '\n' | sha256sum
section storage; cat /etc/pve/storage.cfg 2>/dev/null
section drives; python3 - @SERIALS@ <<'PROGRAM'
@PROGRAM@
PROGRAM
