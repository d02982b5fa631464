"""Guests of a node: containers by LXC on krbd images, virtual machines by QEMU on librbd images.

What the stack of high availability uses, by service id (`ct:101`, `vm:102`):

- `python3 -m pve_standin.guests start|stop|status SID`, `migrate SID NODE`: asked twice is done once, exit
  codes of OCF (0 done or running, 7 not running, 1 failed, 2 wrong arguments). Nothing of it asks whether the
  guest is managed. A guest starts on the node that its configuration file belongs to; whoever recovers it
  elsewhere moves that file first.
- `ha_routing`: what the API and the commands do with a guest that is managed.
"""
