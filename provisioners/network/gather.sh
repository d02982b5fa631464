# What one node says of its network, for phase 2. Only reads; JSON where a tool offers it.
section links; ip -j -d link show
section addresses; ip -j address show
section routes; ip -j route show
section vlans; bridge -j vlan show
section file; sha256sum < /etc/network/interfaces
section carriers
for n in /sys/class/net/*; do
  echo "${n##*/} $(cat "$n/carrier" 2>/dev/null) $(cat "$n/speed" 2>/dev/null)"
done
section corosync; systemctl is-active corosync 2>/dev/null
section candidate; sha256sum < /var/lib/rackproof/network/interfaces.candidate 2>/dev/null
