"""Dependencies point one way: a room of the package imports those above it in this list, and no two files import each other."""

import ast
import subprocess
import sys
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "insightface_cakd"
ROOMS = (
    "errors",
    "runtime",
    "losses",
    "recipe",
    "data",
    "networks",
    "views",
    "teachers",
    "report",
    "evaluate",
    "distill",
    "export",
    "hosts",
    "tasks",
    "seam",
    "experiments",
    "show",
    "doctor",
    "quickstart",
    "api",
    "cli",
    "__main__",
)
MOST = 22


def dotted(path):
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


# The stand-ins are foreign packages by name: they import themselves relatively.
FILES = {dotted(path): path for path in sorted(PACKAGE.rglob("*.py")) if "stand_ins" not in path.parts}


def imported(path):
    """Yield the modules of the package that a file imports, wherever in it the import stands, with the line."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module:
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                yield (whole if whole in FILES else node.module), node.lineno
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name, node.lineno


GRAPH = {name: [(other, line) for other, line in imported(path) if other in FILES] for name, path in FILES.items()}


def room(module):
    return module.split(".")[1] if "." in module else "__init__"


def test_every_file_stands_in_a_room_of_the_list():
    rooms = {room(name) for name in FILES} - {"__init__"}
    assert rooms <= set(ROOMS)
    assert len(rooms) <= MOST


def test_no_room_imports_one_below_it():
    back = [
        f"{name}:{line} imports {other}"
        for name, found in GRAPH.items()
        for other, line in found
        if "__init__" not in (room(name), room(other)) and ROOMS.index(room(other)) > ROOMS.index(room(name))
    ]
    assert not back, "\n".join(back)


def test_no_two_files_import_each_other_on_any_path():
    """Depth first; a package's own `__init__` counts as a file.

    The root imports nothing when it runs, see the test below: what it names for type checkers leads to no circle.
    """
    done, path = {"insightface_cakd"}, []

    def visit(name):
        if name in path:
            raise AssertionError(" -> ".join([*path[path.index(name) :], name]))
        if name in done:
            return
        path.append(name)
        for other, _ in GRAPH[name]:
            if other != name:
                visit(other)
        path.pop()
        done.add(name)

    for name in GRAPH:
        visit(name)


def test_the_root_imports_nothing_of_the_package():
    code = "import sys, insightface_cakd; print([name for name in sys.modules if name.startswith('insightface_cakd.')])"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout == "[]\n"
