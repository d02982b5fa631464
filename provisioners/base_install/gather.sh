# What one node says of itself, for phase 1. Only reads. Sections are named by `section`; JSON where a tool offers it.
# Any command may be missing on a node that is broken: each section stands alone and no error ends the script. Files
# are read by the shell itself, because on an emulated CPU each process costs a tenth of a second.
export LC_ALL=C
show() { while IFS= read -r line || [ -n "$line" ]; do printf '%s\n' "$line"; done < "$1"; }
section hostname; show /proc/sys/kernel/hostname
section fqdn; hostname -f
section os; show /etc/os-release
section kernel; show /proc/sys/kernel/osrelease
section pveversion; pveversion 2>/dev/null
section timezone; readlink /etc/localtime
section addresses; ip -j -d address show
section routes; ip -j route show default
section resolver; show /etc/resolv.conf
section memory; while read -r key value unit; do [ "$key" = MemTotal: ] && echo "$value"; done < /proc/meminfo
section cpu; lscpu -J
section disks; lsblk -J -b -o NAME,PATH,TYPE,SIZE,SERIAL,MODEL,FSTYPE,PTTYPE,PARTTYPE,MOUNTPOINTS
section root; findmnt -J -o SOURCE,FSTYPE,UUID,OPTIONS /
section btrfs
# The kernel's own view: devices, whether one is missing, error counters, profiles in use.
for b in /sys/fs/btrfs/*-*; do
  [ -d "$b/devinfo" ] || continue
  for d in "$b"/devices/*; do [ -e "$d" ] && echo "device ${b##*/} ${d##*/}"; done
  for d in "$b"/devinfo/*; do
    read -r gone < "$d/missing" && echo "missing ${b##*/} ${d##*/} $gone"
    while read -r key value; do echo "errors ${b##*/} ${d##*/} $key $value"; done < "$d/error_stats"
  done
  for p in "$b"/allocation/data/*/ "$b"/allocation/metadata/*/; do
    [ -d "$p" ] || continue
    p=${p%/}; k=${p%/*}; echo "profile ${b##*/} ${k##*/} ${p##*/}"
  done
done 2>/dev/null
section zpool; command -v zpool >/dev/null && zpool status -j -P -L
section esp
# One line a loader: partition, checksum, path. Mounted read-only, in a mount namespace of its own.
mkdir -p /run/rackproof-esp
unshare -m --propagation private sh -c '
  lsblk -n -r -o PATH,PARTTYPE | while read -r part type; do
    [ "$type" = c12a7328-f81f-11d2-ba4b-00a0c93ec93b ] || continue
    at=/run/rackproof-esp
    mount -o ro "$part" "$at" 2>/dev/null || at=$(findmnt -n -f -o TARGET "$part") || continue
    (cd "$at" && find . -iname "*.efi" -exec sha256sum {} +) | while read -r sum name; do echo "$part $sum $name"; done
    [ "$at" != /run/rackproof-esp ] || umount "$at"
  done'
section efi; efibootmgr -v 2>/dev/null
section signatures
# Drives on which nothing is mounted: `blank`, or what stands at their beginning. One MiB of each is read.
lsblk -n -r -o TYPE,PATH,MOUNTPOINTS | { disk= used=
  flush() { [ -n "$disk" ] && [ -z "$used" ] && if cmp -s -n 1048576 "$disk" /dev/zero; then echo "$disk blank"; else
    echo "$disk data $(wipefs -n -J "$disk" 2>/dev/null | tr -d '\n ')"; fi; }
  while read -r type path mounted; do
    if [ "$type" = disk ]; then flush; disk=$path used=$mounted; else used=$used$mounted; fi
  done
  flush; }
section chrony_tracking; chronyc -c tracking
section chrony_sources; chronyc -n -c sources
section sshd; sshd -T
section sshd_dropins
grep -liE '^[[:space:]]*(PasswordAuthentication|KbdInteractiveAuthentication|ChallengeResponseAuthentication|PermitRootLogin|PermitEmptyPasswords|PubkeyAuthentication|Match)[[:space:]=]' /etc/ssh/sshd_config.d/*.conf 2>/dev/null
section authorized_keys; ssh-keygen -l -f /root/.ssh/authorized_keys
section host_key; show /etc/ssh/ssh_host_ed25519_key.pub
section repositories
for f in /etc/apt/sources.list /etc/apt/sources.list.d/*.list /etc/apt/sources.list.d/*.sources; do
  [ -e "$f" ] && { echo "### $f"; show "$f"; echo; }
done
section packages; dpkg-query -W -f '${db:Status-Abbrev} ${Package}\n' $RACKPROOF_PACKAGES 2>/dev/null
section resolves; getent -s dns ahostsv4 $RACKPROOF_NAMES
section files; sha256sum $RACKPROOF_FILES 2>/dev/null; stat -c 'mode %a %n' $RACKPROOF_FILES 2>/dev/null
section parameter
# The cluster's name, read from the parameter store with the node's own short-lived credentials.
node-parameter --describe "$RACKPROOF_PARAMETER"
