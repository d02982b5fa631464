# What one node says of itself, for phase 1. Only reads. Sections are named by `section`; JSON where a tool offers it.
# Every command may be missing on a node that is broken, so each section stands alone and no error ends the script.
export LC_ALL=C
section hostname; hostname
section fqdn; hostname -f
section os; cat /etc/os-release
section kernel; uname -r
section pveversion; pveversion 2>/dev/null
section timezone; readlink /etc/localtime
section addresses; ip -j -d address show
section routes; ip -j route show default
section resolver; cat /etc/resolv.conf
section memory; sed -n 's/^MemTotal: *\([0-9]*\) kB/\1/p' /proc/meminfo
section cpu; lscpu -J
section disks; lsblk -J -b -o NAME,PATH,TYPE,SIZE,SERIAL,MODEL,TRAN,FSTYPE,PTTYPE,PARTTYPE,PARTUUID,UUID,LABEL,MOUNTPOINTS
section nvme; nvme list -o json 2>/dev/null
section root; findmnt -J -o SOURCE,FSTYPE,UUID,OPTIONS /
section btrfs
# The kernel's own view: devices, whether one is missing, error counters, profiles in use.
u=$(findmnt -n -o UUID /); b=/sys/fs/btrfs/$u
if [ -n "$u" ] && [ -d "$b" ]; then
  for d in "$b"/devices/*; do [ -e "$d" ] && echo "device ${d##*/}"; done
  for d in "$b"/devinfo/*; do
    [ -d "$d" ] || continue
    echo "missing ${d##*/} $(cat "$d/missing" 2>/dev/null)"
    awk -v id="${d##*/}" '{print "errors", id, $1, $2}' "$d/error_stats" 2>/dev/null
  done
  for p in "$b"/allocation/data/*/ "$b"/allocation/metadata/*/; do
    [ -d "$p" ] || continue
    p=${p%/}; k=${p%/*}; echo "profile ${k##*/} ${p##*/}"
  done
fi
section zpool; zpool status -j -P -L 2>/dev/null
section esp
# One line a loader file: partition, path, checksum. Mounted read-only in a mount namespace of its own.
mkdir -p /run/rackproof-esp
lsblk -n -r -o PATH,PARTTYPE | awk '$2=="c12a7328-f81f-11d2-ba4b-00a0c93ec93b"{print $1}' | while read -r p; do
  unshare -m --propagation private sh -c '
    at=$(findmnt -n -f -o TARGET "$1") || { mount -o ro "$1" /run/rackproof-esp && at=/run/rackproof-esp; } || exit 0
    cd "$at" && find . -iname "*.efi" -exec sha256sum {} + | sed "s|^|$1 |"' sh "$p" 2>/dev/null
done
section efi; efibootmgr -v 2>/dev/null
section signatures
# Data drives: what stands at their beginning. Only drives without a mounted partition are read, one MiB each.
lsblk -d -n -r -o PATH,TYPE | awk '$2=="disk"{print $1}' | while read -r d; do
  lsblk -n -r -o MOUNTPOINTS "$d" | grep -q . && continue
  bytes=$(head -c 1048576 "$d" | tr -d '\0' | head -c 1 | wc -c)
  found=$(wipefs -n -J "$d" 2>/dev/null | tr -d '\n ')
  echo "$d $bytes $found"
done
section chrony_tracking; chronyc -c tracking
section chrony_sources; chronyc -n -c sources
section sshd; sshd -T
section authorized_keys; ssh-keygen -l -f /root/.ssh/authorized_keys
section host_key; cat /etc/ssh/ssh_host_ed25519_key.pub
section repositories
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [ -e "$f" ] && { echo "### $f"; cat "$f"; echo; }
done
section packages; dpkg-query -W -f '${db:Status-Abbrev}${Package}\n' | awk '$1=="ii"{print $2}'
section resolves
for n in $RACKPROOF_NAMES; do echo "$n $(getent -s dns ahostsv4 "$n" | awk 'NR==1{print $1}')"; done
section files
for f in $RACKPROOF_FILES; do
  [ -f "$f" ] && echo "$(sha256sum < "$f" | cut -d' ' -f1) $(stat -c %a "$f") $f"
done
section parameter
# The cluster's name, read from the parameter store with the node's own short-lived credentials.
node-parameter --describe "$RACKPROOF_PARAMETER"
