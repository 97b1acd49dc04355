"""The house as a whole, read from its sources: imports run downward, the device stays light, files stay small."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
FLOORS = ("device", "train", "convert")  # from the ground up: a floor imports itself and what lies below it
MAX_LINES = 400
MAX_BYTES_IN_GIT = 4 * 2**20
DEVICE_NEEDS = {"numpy", "cv2"}  # besides the standard library; the interpreter is imported when a model is opened
# Named, not imported: device/main.py hands over to the other floors' commands by these names.
# The page is a process of its own; its cli.py, which --help imports, is as light as the others.
PAGE_NEEDS = {"device/page/": {"aiohttp"}, "device/page/cli.py": set()}
NAMES_OF_OTHER_FLOORS = {"device/main.py": {"train.cli", "convert.cli", "convert.demo", "convert.whole"}}


def _of_git() -> list[Path]:
    """Files that are in git or would be added to it; without a git that answers, all of the folders we know."""
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    try:
        listed = subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):  # an unpacked archive, or a checkout of another user
        return sorted(
            p for f in (*FLOORS, "tests") for p in (ROOT / f).rglob("*") if p.is_file() and p.suffix != ".pyc"
        )
    return sorted(ROOT / name for name in set(listed) if name and (ROOT / name).is_file())


FILES = _of_git()
SOURCES = [path for path in FILES if path.suffix == ".py"]
TREES = {path.relative_to(ROOT).as_posix(): ast.parse(path.read_bytes(), str(path)) for path in SOURCES}
HOUSE = {name: tree for name, tree in TREES.items() if name.startswith(tuple(f"{floor}/" for floor in FLOORS))}


def _imports(tree: ast.AST, name: str) -> Iterator[tuple[int, str]]:
    """Each absolute import in a tree: (line, top-level package)."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name.partition(".")[0]) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{name}:{node.lineno}: a relative import; write the whole name"
            yield node.lineno, node.module.partition(".")[0]


def _at_module_level(tree: ast.Module) -> ast.Module:
    """The statements that run at import: a copy without the bodies of functions and without TYPE_CHECKING blocks."""

    class Outer(ast.NodeTransformer):
        def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
            return None

        visit_AsyncFunctionDef = visit_FunctionDef
        visit_Lambda = visit_FunctionDef

        def visit_If(self, node: ast.If) -> ast.AST | None:
            return None if ast.unparse(node.test).endswith("TYPE_CHECKING") else self.generic_visit(node)

    return Outer().visit(ast.parse(ast.unparse(tree)))


def test_the_sources_are_found() -> None:
    for floor in FLOORS:
        assert f"{floor}/__init__.py" in HOUSE
        assert f"{floor}/cli.py" in HOUSE
    assert "tests/test_floors.py" in TREES


@pytest.mark.parametrize("name", HOUSE)
def test_imports_run_downward(name: str) -> None:
    floor = name.partition("/")[0]
    above = {*FLOORS[FLOORS.index(floor) + 1 :], "tests"}
    for line, package in _imports(TREES[name], name):
        assert package not in above, f"{name}:{line}: {floor} imports {package}, which lies above it"


@pytest.mark.parametrize("name", [name for name in HOUSE if name.startswith("device/")])
def test_the_device_names_no_module_of_another_floor(name: str) -> None:
    floors_above = tuple(f"{floor}." for floor in FLOORS[1:])
    named = {
        node.value
        for node in ast.walk(TREES[name])
        if isinstance(node, ast.Constant)
        and isinstance(node.value, str)
        and node.value.startswith(floors_above)
        and node.value.replace(".", "_").isidentifier()
    }
    assert named == NAMES_OF_OTHER_FLOORS.get(name, set()), f"{name} names modules of the floors above"


@pytest.mark.parametrize("name", [name for name in HOUSE if name.startswith("device/")])
def test_the_device_imports_at_start_only_what_a_pi_has(name: str) -> None:
    of_page = PAGE_NEEDS.get(name, PAGE_NEEDS["device/page/"] if name.startswith("device/page/") else set())
    allowed = {*sys.stdlib_module_names, *DEVICE_NEEDS, *of_page, "device"}
    for line, package in _imports(_at_module_level(TREES[name]), name):
        assert package in allowed, f"{name}: imports {package} at module level (statement {line}); a Pi has it not"


@pytest.mark.parametrize("name", TREES)
def test_no_bare_except_and_no_star_import(name: str) -> None:
    for node in ast.walk(TREES[name]):
        if isinstance(node, ast.ExceptHandler):
            assert node.type is not None, f"{name}:{node.lineno}: a bare except also swallows Ctrl-C"
        if isinstance(node, ast.ImportFrom):
            assert node.names[0].name != "*", f"{name}:{node.lineno}: import the names one by one"
    list(_imports(TREES[name], name))  # refuses relative imports


@pytest.mark.parametrize("name", TREES)
def test_files_fit_in_the_head(name: str) -> None:
    lines = len((ROOT / name).read_text(encoding="utf-8").splitlines())
    assert lines <= MAX_LINES, f"{name} has {lines} lines; split it"


@pytest.mark.parametrize("name", HOUSE)
def test_every_public_thing_says_what_it_is(name: str) -> None:
    tree = TREES[name]
    assert ast.get_docstring(tree), f"{name} has no docstring"
    for node in tree.body:
        if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef)) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{name}:{node.lineno}: {node.name} has no docstring"


def test_nothing_big_is_in_git() -> None:
    big = {str(path.relative_to(ROOT)): path.stat().st_size for path in FILES if path.stat().st_size > MAX_BYTES_IN_GIT}
    assert big == {}
