#!/bin/sh
# restore.sh FOLDER: puts back every saved file, removes what did not exist before, and forgets what was saved.
# The login keys and the SSH host key stay: without them nobody could come back to the node.
set -eu
folder=$1
[ -d "$folder" ] || exit 0
cd "$folder"
find . -type f ! -name .absent | while read -r saved; do
  path=${saved#.}
  case $path in /root/.ssh/*|/etc/ssh/ssh_host_*|/etc/network/*) continue ;; esac
  cp -a "$saved" "$path"
  echo "restored $path"
done
if [ -e .absent ]; then
  while read -r path; do
    case $path in /root/.ssh/*|/etc/ssh/ssh_host_*|/etc/network/*) continue ;; esac
    if [ -e "$path" ]; then rm -f "$path"; echo "restored $path"; fi
  done < .absent
fi
cd /
rm -rf "$folder"
