"""The code base holds itself to its own rules: small modules, bounded waits, no dead files, true pages."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
ROOMS = ("cluster", "provisioners", "chaos", "reports", "steps", "lab")
MODULES = sorted(p for room in ROOMS for p in (ROOT / room).rglob("*.py"))
MAX_MODULE_LINES = 500
MAX_FUNCTION_LINES = 70


@cache
def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def relative(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_a_module_can_be_read_in_one_sitting(path: Path) -> None:
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_MODULE_LINES, f"{relative(path)} has {lines} lines; split it by idea"
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            assert length <= MAX_FUNCTION_LINES, f"{relative(path)}: {node.name} has {length} lines"


def _name(call: ast.Call) -> str:
    return ast.unparse(call.func)


@pytest.mark.parametrize("path", MODULES, ids=relative)
def test_every_wait_is_bounded(path: Path) -> None:
    """A loop that sleeps names its deadline or counts; a child process or request has a timeout."""
    for function in ast.walk(tree(path)):
        if isinstance(function, ast.While):
            text = ast.unparse(function)
            if "sleep(" in text or re.search(r"\.wait\(", text):
                bounded = re.search(r"deadline|monotonic|until|stop|remaining", text)
                assert bounded, f"{relative(path)}:{function.lineno}: a loop that waits without a deadline"
        if isinstance(function, ast.Call) and _name(function) in {
            "subprocess.run",
            "subprocess.check_output",
            "subprocess.check_call",
            "urllib.request.urlopen",
        }:
            words = {k.arg for k in function.keywords}
            assert "timeout" in words or None in words, (
                f"{relative(path)}:{function.lineno}: {_name(function)} without a timeout"
            )


def test_no_module_is_dead() -> None:
    """Every module is imported somewhere, run as a program, or loaded by name."""
    everything = [*MODULES, ROOT / "conftest.py", *(ROOT / "tests").rglob("*.py")]
    text = {p: p.read_text(encoding="utf-8") for p in everything}
    other_text = "\n".join(
        p.read_text(encoding="utf-8")
        for p in [*ROOT.glob("*.toml"), ROOT / "Makefile", *(ROOT / "docs").rglob("*.md")]
    )
    for path in MODULES:
        if path.name in {"__init__.py", "__main__.py"}:
            continue
        if "iter_modules(__path__)" in (path.parent / "__init__.py").read_text(encoding="utf-8"):
            continue  # its folder loads all that lies in it
        stem = path.stem
        dotted = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        used = any(
            other != path and re.search(rf"\b{re.escape(stem)}\b", body) for other, body in text.items()
        )
        assert used or dotted in other_text, f"nothing uses {relative(path)}"


def _tracked() -> list[Path]:
    listing = subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    if listing.returncode != 0:
        pytest.skip("not a git checkout")
    return [ROOT / line for line in listing.stdout.splitlines() if (ROOT / line).is_file()]


def test_pages_point_at_things_that_exist() -> None:
    for page in (p for p in _tracked() if p.suffix == ".md"):
        for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
            if "://" in target or target.startswith("mailto:"):
                continue
            assert (page.parent / target).exists(), f"{relative(page)} points at {target}, which is not there"


def test_the_index_names_every_page() -> None:
    docs = ROOT / "docs"
    named = re.findall(r"\]\(([^)#\s]+)", (docs / "README.md").read_text(encoding="utf-8"))
    pages = {str(page.relative_to(docs)) for page in docs.rglob("*.md")} - {"README.md"}
    assert pages <= set(named), f"docs/README.md does not name {sorted(pages - set(named))}"


# Packages whose import has another name, and those that are used as programs, plug-ins or types.
IMPORTED_AS = {
    "ansible-core": "",
    "boto3-stubs": "",
    "dnspython": "dns",
    "import-linter": "",
    "libvirt-python": "libvirt",
    "pyyaml": "yaml",
    "mypy": "",
    "pytest-testinfra": "testinfra",
    "pytest-timeout": "",
    "pytest-xdist": "",
    "ruff": "",
    "types-jinja2": "",
    "types-pyyaml": "",
    "uv": "",
}


# Debian's packages that the harness need not have, and the programs for nodes that may import them.
ON_NODES = {
    "fusepy": ("python3-fusepy", r"lab/standins/proxmox/daemon/.*"),
    "rados": ("python3-rados", r"lab/standins/proxmox/daemon/.*|chaos/ledger_stores\.py|.*_agent\.py"),
    "rbd": ("python3-rbd", r"lab/standins/proxmox/daemon/.*|chaos/ledger_stores\.py|.*_agent\.py"),
    "cephfs": ("python3-cephfs", r"chaos/ledger_stores\.py"),
}


def _imports(path: Path) -> set[str]:
    """First names of what a module imports, by a statement or by its name; the code base's own left out."""
    found = set()
    for node in ast.walk(tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.split(".")[0])
        elif isinstance(node, ast.Call) and _name(node) == "importlib.import_module":
            found |= {str(a.value).split(".")[0] for a in node.args if isinstance(a, ast.Constant)}
    return found - {*ROOMS, "tests", "conftest", "libvirt_qemu", *sys.stdlib_module_names}


def test_what_nodes_import_is_installed_there() -> None:
    installed = (ROOT / "lab" / "image" / "recipe.py").read_text(encoding="utf-8")
    seen = set()
    for path in MODULES:
        for name in _imports(path) & {*ON_NODES}:
            package, programs = ON_NODES[name]
            assert re.fullmatch(programs, relative(path)), f"{relative(path)}: {name} is on nodes only"
            assert f'"{package}"' in installed, f"{relative(path)}: {package} is not on the medium"
            seen.add(name)
    assert seen == {*ON_NODES}, f"nothing imports {sorted({*ON_NODES} - seen)}"


def test_every_package_that_is_imported_is_listed_and_no_other() -> None:
    """What comes only as somebody else's dependency can go with the next lock."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = [
        *project["dependencies"],
        *(p for extra in project["optional-dependencies"].values() for p in extra),
    ]
    names = [re.split(r"[\[<>=]", package)[0] for package in wanted]
    listed = {IMPORTED_AS.get(name, name.replace("-", "_")) for name in names} - {""}
    everything = [*MODULES, ROOT / "conftest.py", *(ROOT / "tests").rglob("*.py")]
    used = set[str]().union(*(_imports(path) for path in everything)) - {*ON_NODES}
    assert used <= listed, f"pyproject.toml does not list {sorted(used - listed)}"
    assert listed <= used, f"nothing imports {sorted(listed - used)}; pyproject.toml lists it"


def test_features_hold_no_private_numbers_or_code_words() -> None:
    for path in (ROOT / "features").rglob("*.feature"):
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
            where = f"{relative(path)}:{number}"
            assert not re.search(r"\b\d{1,3}(\.\d{1,3}){3}\b", line), f"{where}: an address in a feature"
            assert not re.search(r"\b[a-z]+_[a-z_]+\b|\(\)|==", line), f"{where}: a code word in a feature"


def test_nothing_is_skipped_without_a_reason() -> None:
    for path in (ROOT / "tests").rglob("*.py"):
        for call in (n for n in ast.walk(tree(path)) if isinstance(n, ast.Call)):
            if _name(call) in {"pytest.skip", "pytest.mark.skip"}:
                assert call.args or call.keywords, f"{relative(path)}:{call.lineno}: a skip without a reason"
