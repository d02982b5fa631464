# What one node says of its network, for phase 2. Only reads; JSON where a tool offers it.
section links; ip -j -d link show
section addresses; ip -j address show
section routes; ip -j route show
section vlans; bridge -j vlan show
section file; sha256sum < /etc/network/interfaces
section carriers
for n in /sys/class/net/*; do  # the kernel refuses both on a port that is down
  carrier= speed=
  read -r carrier < "$n/carrier"
  read -r speed < "$n/speed"
  echo "${n##*/} ${carrier:-0} ${speed:-0}"
done 2>/dev/null
section corosync; systemctl is-active corosync 2>/dev/null
