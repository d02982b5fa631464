# Runs on a node and says which of the named guests run there, again and again, by bash alone: no process is
# started in the loop, for that is dear on an emulated node.
#
# Fed to `bash -s` after lines that set CONTAINERS and MACHINES (numbers of guests), INTERVAL, LIMIT and QUIET
# (seconds), and ROOT ("" but in tests); then come lines `ping N`, N of seven digits. It says
#   kernel BOOT-ID NS                once; NS after the node started, systemd reached basic.target (0: unknown)
#   runs STAMP STAMP ID=INSTANCE ... what ran at some moment between the two; INSTANCE is PID.STARTED, with an i
#                                    behind it for a virtual machine that was begun to receive a migration, or -
#                                    where there is no process to name
#   ha STAMP PART PARTS TEXT         a part of /etc/pve/ha/manager_status, whenever that has changed
#   pong N STAMP
# STAMP is ns since the node started, cut off to 10 ms. It ends with its input, QUIET after the last ping, and
# after LIMIT.
#
# Containers: their control group, which Proxmox VE names lxc/ID and plain LXC lxc.payload.ID, holds processes;
# the instance is LXC's monitor of it. Virtual machines: the process that qemu-server's pid file names, or else
# what is in the machine's scope.
exec 2>/dev/null
export LC_ALL=C
declare -A incoming

stamp() {
    local up rest
    read -r up rest <"$ROOT/proc/uptime"
    now=${up/./}0000000
}

held() { # GROUP: whether the control group holds processes
    local key value
    while read -r key value; do
        [[ $key == populated ]] && { [[ $value == 1 ]]; return; }
    done <"$ROOT/sys/fs/cgroup/$1/cgroup.events"
    return 1
}

instance() { # PID: sets found to PID.STARTED; fails where there is no such process, or only what is left of one
    local line fields
    read -r line <"$ROOT/proc/$1/stat" || return
    read -r -a fields <<<"${line##*) }"
    [[ ${fields[0]} != [ZX] ]] && found=$1.${fields[19]}
}

first_of() { # GROUP: sets pid to the first process in it
    read -r pid <"$ROOT/sys/fs/cgroup/$1/cgroup.procs"
}

container() { # ID: whether it runs; sets found
    local pid
    held "lxc/$1" || held "lxc.payload.$1" || return
    found=-
    { first_of "lxc.monitor/$1" || first_of "lxc.monitor.$1"; } && instance "$pid"
    return 0
}

machine() { # ID: whether it runs; sets found
    local pid name word
    read -r pid <"$ROOT/run/qemu-server/$1.pid" && read -r name <"$ROOT/proc/$pid/comm" || name=
    if [[ $name != @(kvm|qemu)* ]] || ! instance "$pid"; then
        held "qemu.slice/$1.scope" || return
        found=-
        first_of "qemu.slice/$1.scope" && instance "$pid" || return 0
    fi
    if [[ -z ${incoming[$found]} ]]; then
        incoming[$found]=no
        while IFS= read -r -d '' word; do
            [[ $word == -incoming ]] && incoming[$found]=yes
        done <"$ROOT/proc/$pid/cmdline"
    fi
    [[ ${incoming[$found]} == no ]] || found+=i
}

manager_status() { # in a process of its own, whose input ends with the rest: a cluster file system may hang
    local text last= now parts part
    while :; do
        text=
        IFS= read -r -d '' text <"$ROOT/etc/pve/ha/manager_status"
        text=${text//$'\n'/ }
        if [[ -n $text && $text != "$last" ]]; then
            stamp
            parts=$(((${#text} + 499) / 500))
            for ((part = 0; part < parts; part++)); do
                printf 'ha %s %d %d %s\n' "$now" "$part" "$parts" "${text:part*500:500}"
            done
            last=$text
        fi
        read -r -t 1 || (($? > 128)) || return
    done
}

watch_places() {
    local id line found kernel early part asked= until heard now before life
    exec {life}> >(manager_status)
    read -r kernel <"$ROOT/proc/sys/kernel/random/boot_id"
    # The only processes that are started. What starts guests comes after that target: pve-ha-lrm and pve-guests
    # have systemd's default dependencies (their units in pve-ha-manager and pve-manager).
    early=$(timeout 5 systemctl show --property=ActiveEnterTimestampMonotonic --value basic.target)
    [[ $early =~ ^[0-9]+$ ]] || early=0
    printf 'kernel %s %s000\n' "$kernel" "$early"
    stamp
    until=$((10#$now + LIMIT * 1000000000)) heard=$((10#$now))
    while ((10#$now < until && 10#$now < heard + QUIET * 1000000000)); do
        before=$now line=
        for id in $CONTAINERS; do container "$id" && line+=" $id=$found"; done
        for id in $MACHINES; do machine "$id" && line+=" $id=$found"; done
        stamp
        printf 'runs %s %s%s\n' "$before" "$now" "$line"
        if IFS= read -r -t "$INTERVAL" part; then
            stamp
            heard=$((10#$now)) part=$asked$part asked=
            # Where bash took the end of a line for the end of its time, the next one follows without a break.
            part=${part##*ping }
            [[ $part =~ ^[0-9]{7}$ ]] && printf 'pong %s %s\n' "$part" "$now"
        elif (($? <= 128)); then
            break
        else
            asked+=$part # the time was over in the middle of a line
            stamp
        fi
    done
}

watch_places; exit
