"""The rules of the house, kept by tests: imports point downward, light parts stay light, files stay short."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import efficientformer

PACKAGE = Path(efficientformer.__file__).parent
LAYERS = [
    {"errors", "records", "provenance", ""},
    {"arch"},
    {"models", "data"},
    {"export", "tasks"},
    {"latency", "training"},
    {"report", "search", "analysis"},
    {"pipeline"},
    {"cli"},
    {"__main__"},
]
RANK = {name: rank for rank, names in enumerate(LAYERS) for name in names}
MODULES = sorted(PACKAGE.rglob("*.py"))
TORCH_FREE = [
    "efficientformer",
    "efficientformer.arch.space",
    "efficientformer.arch.cost",
    "efficientformer.arch.zoo",
    "efficientformer.arch.edits",
    "efficientformer.latency.table",
    "efficientformer.search.baselines",
    "efficientformer.search.evolution",
    "efficientformer.search.importance",
    "efficientformer.search.optimum",
    "efficientformer.search.actions",
    "efficientformer.search.candidates",
    "efficientformer.search.slim",
    "efficientformer.search.surrogate",
    "efficientformer.search.subnet",
    "efficientformer.search.weighing",
    "efficientformer.report.page",
    "efficientformer.pipeline.settings",
    "efficientformer.pipeline.result",
    "efficientformer.cli.app",
]


def imports_of(path: Path) -> set[str]:
    """Names inside the package that a module imports, wherever the import stands."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] == "efficientformer":
            found.add(node.module or "")
            if node.module == "efficientformer":
                found |= {f"efficientformer.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.split(".")[0] == "efficientformer"}
    return found


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


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_stay_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def test_nothing_is_called_utils():
    vague = {"utils", "common", "misc", "helpers", "util"}
    assert not [path for path in MODULES if path.stem in vague or path.parent.name in vague]


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
