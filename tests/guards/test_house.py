"""The rules of the house, kept by tests: imports point downward, light parts stay light, files stay short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import efficientformer

PACKAGE = Path(efficientformer.__file__).parent
REPOSITORY = Path(__file__).parents[2]
LAYERS = [
    {"errors", "leftovers", "records", "reading", "journal", "paths", "provenance", "run_dir", "visible", ""},
    {"arch"},
    {"formats"},
    {"models", "data"},
    {"exporting"},
    {"tasks"},
    {"latency", "training"},
    {"report", "search", "analysis"},
    {"pipeline"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))
CROWDED = 16
"""Files that a folder may have; `cli/` has one for each verb."""
TORCH_FREE = [
    "efficientformer",
    "efficientformer.arch.space",
    "efficientformer.arch.cost",
    "efficientformer.arch.zoo",
    "efficientformer.arch.moves",
    "efficientformer.latency.tables.table",
    "efficientformer.search.rivals.baselines",
    "efficientformer.search.rivals.evolution",
    "efficientformer.search.importance",
    "efficientformer.search.rivals.optimum",
    "efficientformer.search.actions",
    "efficientformer.search.candidates",
    "efficientformer.search.slim",
    "efficientformer.search.supernet.mixing",
    "efficientformer.search.rivals.surrogate",
    "efficientformer.search.subnet",
    "efficientformer.search.weighing",
    "efficientformer.report.frame",
    "efficientformer.pipeline.run.settings",
    "efficientformer.pipeline.run.plan",
    "efficientformer.pipeline.run.result",
    "efficientformer.cli.app",
]


def name_of(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


SCRIPTS = [path for folder in ("tests", "benchmarks") for path in (REPOSITORY / folder).rglob("*.py")]
NAMES = {name_of(path): path for path in MODULES}


def imports_of(path: Path) -> set[str]:
    """Modules of the package that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "efficientformer":
            modules = {f"{node.module}.{alias.name}" for alias in node.names} & set(NAMES)
            found |= modules or {node.module or ""}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "efficientformer"}
    return found


def circles(arrows: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import one another, directly or not (Tarjan's strongly connected components)."""
    order: dict[str, int] = {}
    lowest: dict[str, int] = {}
    path: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = lowest[name] = len(order)
        path.append(name)
        for other in arrows[name]:
            if other not in order:
                visit(other)
            if other in path:
                lowest[name] = min(lowest[name], lowest[other])
        if lowest[name] == order[name]:
            start = path.index(name)
            found.append(sorted(path[start:]))
            del path[start:]

    for name in arrows:
        if name not in order:
            visit(name)
    return [group for group in found if len(group) > 1 or group[0] in arrows[group[0]]]


def floors(folder: Path) -> dict[str, set[str]]:
    """By the name of a file or folder in `folder`, those beside it that it imports."""
    arrows: dict[str, set[str]] = {}
    for path in folder.rglob("*.py"):
        own = path.relative_to(folder).parts[0]
        arrows.setdefault(own, set())
        for module in imports_of(path):
            target = NAMES.get(module)
            if target is not None and target.is_relative_to(folder):
                arrows[own].add(target.relative_to(folder).parts[0])
    return {own: others - {own} for own, others in arrows.items()}


FOLDERS = sorted({path.parent for path in MODULES})


def test_no_files_import_one_another():
    # Public names are resolved lazily, by the root.
    arrows = {name: imports_of(path) & set(NAMES) for name, path in NAMES.items() if name != "efficientformer"}
    assert circles({name: others & set(arrows) for name, others in arrows.items()}) == []


def test_circles_are_found():
    assert circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"d"}}) == [["b", "c"], ["d"]]


@pytest.mark.parametrize("folder", [path for path in FOLDERS if path != PACKAGE], ids=lambda path: path.name)
def test_inside_a_folder_imports_point_downward_too(folder):
    """Its files and folders can be put on floors: none is above and below another at the same time."""
    arrows = floors(folder)
    # What stands at the door of a folder opens its rooms by name.
    arrows.pop("__init__.py", None)
    assert circles({own: others & set(arrows) for own, others in arrows.items()}) == []


@pytest.mark.parametrize("folder", FOLDERS, ids=lambda path: path.name)
def test_no_hall_is_crowded(folder):
    files = [path for path in folder.glob("*.py") if path.name != "__init__.py"]
    assert folder.name == "cli" or len(files) <= CROWDED, f"{folder.name}/ has {len(files)} files"


def folder_of(module: str) -> str:
    parts = module.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in RANK else ""


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_point_downward(path):
    relative = path.relative_to(PACKAGE)
    own = relative.parts[0] if len(relative.parts) > 1 else relative.stem
    if own == "__init__":
        return  # public names are resolved lazily
    assert own in RANK, f"{relative} is in no layer of the house"
    siblings = {name for names in LAYERS if own in names for name in names} - {own}
    for module in imports_of(path):
        other = folder_of(module)
        assert RANK[other] <= RANK[own], f"{relative} imports {module} from above"
        if RANK[own] > 0:
            assert other not in siblings, f"{relative} imports its neighbor {module}"


def test_phases_never_import_one_another():
    for path in (PACKAGE / "pipeline" / "phases").glob("*.py"):
        assert not [name for name in imports_of(path) if name.startswith("efficientformer.pipeline.phases")], path.name


def test_files_stay_short():
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in [*MODULES, *SCRIPTS]}
    assert len(lines) > len(MODULES) and not [path for path, count in lines.items() if count > 400]


def test_nothing_is_called_utils():
    vague = {"utils", "common", "misc", "helpers", "util"}
    paths = [*MODULES, *SCRIPTS]
    assert not [path for path in paths if path.stem in vague or path.parent.name in vague]


@pytest.mark.parametrize("module", TORCH_FREE)
def test_light_parts_do_not_import_torch(module):
    code = f"import sys, {module}; sys.exit('torch' in sys.modules or 'torchvision' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_every_test_can_fail():
    """A test without an assertion, an expected error or a helper that checks would always pass."""
    empty = []
    for path in sorted(Path(__file__).parents[1].rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                text = ast.unparse(node)
                if not any(word in text for word in ("assert", "pytest.raises", "check_")):
                    empty.append(f"{path.name}::{node.name}")
    assert not empty


def test_the_training_loop_fits_a_screen():
    """One flat loop for every task, in fewer than 90 lines with its signature."""
    tree = ast.parse((PACKAGE / "training" / "loop.py").read_text(encoding="utf-8"))
    (fit,) = (node for node in tree.body if isinstance(node, ast.FunctionDef) and node.name == "fit")
    assert fit.end_lineno is not None and fit.end_lineno - fit.lineno + 1 < 90
    assert [type(node) for node in fit.body].count(ast.While) == 1
