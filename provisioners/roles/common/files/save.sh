#!/bin/sh
# save.sh FOLDER PATH...: keeps each file as it stood before we first touched it; what did not exist is listed.
set -eu
umask 077
folder=$1
shift
mkdir -p "$folder"
touch "$folder/.absent"
for path; do
  [ -e "$folder$path" ] && continue
  grep -qxF "$path" "$folder/.absent" && continue
  if [ -e "$path" ]; then
    mkdir -p "$folder$(dirname "$path")"
    cp -aL "$path" "$folder$path"
  else
    echo "$path" >> "$folder/.absent"
  fi
  echo "saved $path"
done
