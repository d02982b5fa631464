# What one node says of high availability, for phase 7. Only reads. Files are read by the shell itself: on an emulated
# CPU each process costs.
section services; systemctl show -p Id -p ActiveState -p UnitFileState $RACKPROOF_SERVICES
section configured
while IFS= read -r line; do case $line in WATCHDOG_MODULE=*) echo "${line#*=}" ;; esac; done < /etc/default/pve-ha-manager
section modules; while read -r name _; do echo "$name"; done < /proc/modules
section watchdogs
for d in /sys/class/watchdog/watchdog*; do
  [ -e "$d/identity" ] || continue
  state= timeout=
  read -r identity < "$d/identity"
  read -r state < "$d/state"
  read -r timeout < "$d/timeout"
  module=$(readlink "$d/device/driver/module")
  echo "${d##*/watchdog}|$state|$timeout|${module##*/}|$identity"
done
section holders
find /proc/[0-9]*/fd -lname '/dev/watchdog*' -printf '%h|%l\n' 2>/dev/null | sort -u | while IFS='|' read -r path device; do
  path=${path%/fd} unit= name=
  read -r name < "$path/comm"
  while IFS=: read -r _ _ group; do unit=${group##*/}; done < "$path/cgroup"
  echo "${path#/proc/}|$device|$unit|$name"
done
section fencing; [ -e /etc/rackproof/fencing.json ] && cat /etc/rackproof/fencing.json
section program
p=/usr/local/lib/rackproof/rackproof_fencing
[ -d $p ] && cat $p/*.py /etc/systemd/system/rackproof-fencing.service 2>/dev/null | sha256sum
section authorities; [ -e /etc/rackproof/fencing-ca.pem ] && sha256sum < /etc/rackproof/fencing-ca.pem
