"""`python -m lab ...`: the command line of the virtual rack."""

from __future__ import annotations

import argparse
import dataclasses
import os
import sys
from collections.abc import Callable

from lab import lifecycle, namespace, rack
from lab.errors import LabError
from lab.paths import State, state_folder
from lab.rack import Rack

Command = Callable[[argparse.Namespace, Rack, State], None]
OUTSIDE = ("up", "down")  # these begin on the machine's side; all others inside the namespaces


def parser() -> argparse.ArgumentParser:
    """The command line; every subcommand sets `run`."""
    top = argparse.ArgumentParser(prog="lab", description="the virtual rack: servers, switches, BMCs, cloud")
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def add(name: str, run: Command, text: str) -> argparse.ArgumentParser:
        command = commands.add_parser(name, help=text, description=text)
        command.set_defaults(run=run)
        return command

    up = add("up", _up, "rack bare servers: powered off, disks blank (asked again it changes nothing)")
    up.add_argument("--begun", type=float, default=0.0, help=argparse.SUPPRESS)
    down = add("down", _down, "take everything away")
    down.add_argument("--keep-disks", action="store_true", help="leave the drives for the next up")
    add("status", _status, "what runs")
    console = add("console", _console, "serial console of a server (leave with Ctrl-])")
    console.add_argument("node")
    ssh = add("ssh", _ssh, "shell, or one command, on an installed server")
    ssh.add_argument("node")
    ssh.add_argument("argv", nargs=argparse.REMAINDER, metavar="cmd")
    for name, text in (
        ("save", "keep all drives as they are, under a name (powers servers off)"),
        ("restore", "bring saved drives back (powers servers off)"),
    ):
        command = add(name, _save if name == "save" else _restore, text)
        command.add_argument("name")
        if name == "save":
            command.add_argument("--replace", action="store_true", help="over an earlier save of that name")
    off = add(
        "poweroff", _poweroff, "ask all running servers to shut down; pull the plug of those that do not"
    )
    off.add_argument("--deadline", type=float, default=120.0, metavar="SECONDS")
    add("suspend", _suspend, "stop the processors of all running servers")
    add("resume", _suspend, "let suspended servers go on")
    for name, text in (("break", "inject a defect from the catalogue"), ("mend", "undo a defect")):
        command = add(name, _break, text)
        command.add_argument("defect", nargs="?", help="without it: list the catalogue")
        command.add_argument("target", nargs="?", help="where, for a defect that can be in several places")
    _add_hands(add("hands", _hands, "remote hands: drives and cables"))
    cut = add("cut", _cut, "cut the path between two points for a known time, and say exactly when")
    cut.add_argument("pair", help="node1:node2")
    cut.add_argument("--for", dest="seconds", type=float, required=True, metavar="SECONDS")
    return top


def _add_hands(hands: argparse.ArgumentParser) -> None:
    actions = hands.add_subparsers(dest="action", required=True, metavar="ACTION")
    for name, what in (
        ("pull-drive", "serial"),
        ("push-drive", "serial"),
        ("pull-link", "port"),
        ("push-link", "port"),
    ):
        action = actions.add_parser(name)
        action.add_argument("node")
        action.add_argument(what)


def _up(arguments: argparse.Namespace, hardware: Rack, state: State) -> None:
    if namespace.inside(state):
        lifecycle.up_inside(hardware, state, arguments.begun)
    else:
        lifecycle.up_outside(hardware, state)


def _down(arguments: argparse.Namespace, hardware: Rack, state: State) -> None:
    if arguments.keep_disks and namespace.holder(state) is not None:
        namespace.run_inside(state, [sys.executable, "-m", "lab", "poweroff"], deadline_s=180)
    lifecycle.down(hardware, state, arguments.keep_disks)


def _status(_: argparse.Namespace, hardware: Rack, state: State) -> None:
    from lab import status

    print(status.text(hardware, state))


def _console(arguments: argparse.Namespace, hardware: Rack, _: State) -> None:
    from lab import servers

    hardware.find(arguments.node)
    if not servers.running(arguments.node):
        raise LabError(f"{arguments.node} is off: its console is silent")
    os.execvp("virsh", ["virsh", "-c", servers.URI, "console", arguments.node, "--force"])  # noqa: S606


def _ssh(arguments: argparse.Namespace, hardware: Rack, state: State) -> None:
    from lab import shell

    argv = shell.command(hardware, state, arguments.node, arguments.argv)
    os.execvp(argv[0], argv)  # noqa: S606


def _save(arguments: argparse.Namespace, hardware: Rack, state: State) -> None:
    from lab import snapshots

    with lifecycle.locked(state, "save"):
        snapshots.save(hardware, state, arguments.name, replace=arguments.replace)


def _restore(arguments: argparse.Namespace, hardware: Rack, state: State) -> None:
    from lab import snapshots

    with lifecycle.locked(state, "restore"):
        snapshots.restore(hardware, state, arguments.name)


def _poweroff(arguments: argparse.Namespace, hardware: Rack, _: State) -> None:
    from lab import servers

    forced = servers.power_off_all(hardware, arguments.deadline)
    print(f"all servers are off{'; forced: ' + ', '.join(forced) if forced else ''}")


def _suspend(arguments: argparse.Namespace, hardware: Rack, _: State) -> None:
    from lab import servers

    names = servers.suspend_all(hardware, resume=arguments.command == "resume")
    print(f"{arguments.command}: {', '.join(names) or 'no server concerned'}")


def _break(arguments: argparse.Namespace, _: Rack, __: State) -> None:
    from lab import defects

    if arguments.defect is None:
        print(defects.catalogue())
    elif arguments.command == "break":
        print(defects.apply(arguments.defect, arguments.target))
    else:
        print(defects.undo(arguments.defect, arguments.target))


def _hands(arguments: argparse.Namespace, hardware: Rack, state: State) -> None:
    from lab import servers

    push = arguments.action.startswith("push-")
    if arguments.action.endswith("-drive"):
        servers.set_drive(hardware, state, arguments.node, arguments.serial, push)
        print(f"{arguments.node}: drive {arguments.serial} is {'in its bay' if push else 'out of its bay'}")
    else:
        servers.set_link(arguments.node, arguments.port, push, "cable", hardware, state)
        print(f"{arguments.node}: cable {arguments.port} is {'in' if push else 'out'}")


def _cut(arguments: argparse.Namespace, hardware: Rack, _: State) -> None:
    from lab import cutting

    print(cutting.cut(hardware, arguments.pair, arguments.seconds))


def _hardware() -> Rack:
    """The rack file; `RACKPROOF_NAMESPACE` puts a second rack beside the first (in another state folder)."""
    hardware = rack.load()
    return dataclasses.replace(
        hardware, namespace=os.environ.get("RACKPROOF_NAMESPACE") or hardware.namespace
    )


def main() -> int:
    """Run one command. Exit status 1 with one sentence for what cannot be done, 2 for bad usage."""
    arguments = parser().parse_args()
    try:
        state, hardware = state_folder(), _hardware()
        if arguments.command not in OUTSIDE and not namespace.inside(state):
            lifecycle.check_machine()
            namespace.enter(state, [sys.executable, "-m", "lab", *sys.argv[1:]])
        arguments.run(arguments, hardware, state)
    except LabError as error:
        print(f"lab {arguments.command}: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # or Python complains at its exit
        return 0
    except KeyboardInterrupt:
        print(f"lab {arguments.command}: interrupted", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
