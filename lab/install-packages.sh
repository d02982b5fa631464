#!/bin/sh
# Installs the Debian packages named in the file $1, one name a line, and touches nothing when all are there.
# Their services are kept from starting: the rack runs its own copies inside its namespace.
set -eu
missing=""
while read -r name; do
    case "$name" in ''|'#'*) continue ;; esac
    dpkg-query -W -f='${Status}' "$name" 2>/dev/null | grep -q 'install ok installed' || missing="$missing $name"
done <"$1"
[ -n "$missing" ] || exit 0
as_root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "these packages are missing and you are not root:$missing" >&2; exit 1; }
    as_root=sudo
fi
echo "installing Debian packages:$missing"
policy=/usr/sbin/policy-rc.d
made=""
if [ ! -e "$policy" ]; then
    printf '#!/bin/sh\nexit 101\n' | $as_root tee "$policy" >/dev/null
    $as_root chmod 755 "$policy"
    made=yes
fi
trap 'if [ -n "$made" ]; then $as_root rm -f "$policy"; fi' EXIT
$as_root apt-get update -qq
# shellcheck disable=SC2086  # a list of names is meant
$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
