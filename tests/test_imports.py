"""Imports point down only, and what is heavy is loaded where its job is."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import coreset

ROOT = Path(coreset.__file__).parent
STAGES = ("embed", "import_", "cluster", "forest", "dedup", "sample")
IMPORT = ("import_captions", "import_rows", "import_samples")
EMBED = ("embed_params", "embed_rows", "embed_table")
BESIDE_STAGES = (*IMPORT, *EMBED, "exclude", "keys", "quarantine", "slices", "vectors")
ABOVE_STAGES = ("pipeline", "recipe", "cli", "results", "mixture")
HEAVY = ("torch", "faiss", "pyarrow", "ray", "open_clip", "webdataset", "scipy", "numpy", "fsspec", "s3fs", "aiohttp")

MAY_IMPORT_OF_CORESET = {
    "engine": {"engine"},
    "numeric": {"numeric"},
    "sources": {"sources", "remote_rows", "engine"},
    "rows": {"rows", "remote_rows", "engine", "numeric"},
    "remote_rows": {"engine"},
    "encoder": {"encoder", "engine", "sources"},
    "vectors": {"vectors", "rows", "engine"},
    "quarantine": {"quarantine", "sources", "rows", "engine"},
    "exclude": {"exclude", "rows", "engine"},
    "slices": {"slices", "rows", "numeric", "engine"},
    "keys": {"keys", "quarantine", "rows", "engine"},
    "account": {"account", "rows", "engine"},
    **{name: {*IMPORT, "sources", "rows", "keys", "numeric", "engine"} for name in IMPORT},
    **{
        stage: {stage, *BESIDE_STAGES, "encoder", "rows", "account", "numeric", "sources", "engine"} for stage in STAGES
    },
    "embed_params": {"encoder", "sources", "engine"},
    "embed_rows": {"encoder", "sources", "engine"},
    "embed_table": {"sources", "rows", "keys"},
    "recipe": {*STAGES, "sources", "rows", "engine"},
    "demo": {"encoder"},
    "mixture": {"mixture", "recipe", "engine"},
}
"""What the modules of a folder, or the module of that name, may import of coreset. The others stand on top."""

MAY_BE_IMPORTED_BY = {
    "faiss": ("numeric/kmeans.py",),
    "open_clip": ("encoder/",),
    "ray": ("engine/on_ray.py",),
    **dict.fromkeys(("fsspec", "s3fs", "gcsfs", "botocore", "aiohttp"), ("engine/stores.py", "engine/s3.py")),
    "torch": ("encoder/", "numeric/", "embed_rows.py"),
    "pyarrow": (
        "rows.py",
        "remote_rows.py",
        "keys.py",
        "quarantine.py",
        "slices.py",
        "account.py",
        "exclude.py",
        "import_captions.py",
        "import_rows.py",
        "embed_table.py",
        "sources/",
        "results/",
        *(f"{stage}.py" for stage in STAGES),
    ),
}
"""Libraries and the only modules that may import them; `embed_rows.py` names torch for the type checker only."""


def modules() -> list[str]:
    return sorted(str(path.relative_to(ROOT)) for path in ROOT.rglob("*.py"))


@cache
def tree_of(module: str) -> ast.Module:
    return ast.parse((ROOT / module).read_text())


def type_checking_nodes(tree: ast.Module) -> set[ast.AST]:
    """What stands under `if TYPE_CHECKING`: never executed."""
    guards = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    return {node for guard in guards for statement in guard.body for node in ast.walk(statement)}


def imported(module: str, executed_only: bool = False) -> set[str]:
    """Full names of all modules that a module imports anywhere, functions included."""
    tree = tree_of(module)
    skipped = type_checking_nodes(tree) if executed_only else set()
    names: set[str] = set()
    for node in ast.walk(tree):
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}: imports are absolute"
            names.add(str(node.module))
            names |= {f"{node.module}.{alias.name}" for alias in node.names if node.module == "coreset"}
        elif isinstance(node, ast.Call) and ast.unparse(node.func).endswith(("import_module", "__import__")):
            names |= {arg.value for arg in node.args if isinstance(arg, ast.Constant)}
    return names


def place_of(module: str) -> str:
    """`engine` for `engine/files.py`, `rows` for `rows.py`."""
    return Path(module).parts[0].removesuffix(".py")


def own_imports(module: str) -> set[str]:
    """Places in coreset that a module imports from."""
    names = {
        name.removeprefix("coreset.").partition(".")[0] for name in imported(module) if name.startswith("coreset.")
    }
    return {name for name in names if (ROOT / name).is_dir() or (ROOT / f"{name}.py").is_file()}


@pytest.mark.parametrize("module", [name for name in modules() if place_of(name) in MAY_IMPORT_OF_CORESET])
def test_imports_point_down_only(module: str) -> None:
    assert own_imports(module) <= MAY_IMPORT_OF_CORESET[place_of(module)]


@pytest.mark.parametrize("stage", STAGES)
def test_stages_never_import_each_other(stage: str) -> None:
    assert own_imports(f"{stage}.py").isdisjoint({*STAGES} - {stage})


@pytest.mark.parametrize("module", [name for name in modules() if place_of(name) not in {*ABOVE_STAGES, "__init__"}])
def test_nothing_below_imports_what_stands_above(module: str) -> None:
    assert own_imports(module).isdisjoint(ABOVE_STAGES)


@pytest.mark.parametrize("module", [name for name in modules() if place_of(name) != "cli"])
def test_only_the_command_line_imports_itself(module: str) -> None:
    assert "cli" not in own_imports(module)


@pytest.mark.parametrize("library", MAY_BE_IMPORTED_BY)
def test_a_library_is_imported_where_its_job_is(library: str) -> None:
    importers = {module for module in modules() if library in {name.split(".")[0] for name in imported(module)}}
    assert {module for module in importers if not module.startswith(MAY_BE_IMPORTED_BY[library])} == set()


def test_torch_is_loaded_by_encoder_and_numeric_only() -> None:
    importers = {name for name in modules() if "torch" in {full.split(".")[0] for full in imported(name, True)}}
    assert {place_of(module) for module in importers} <= {"encoder", "numeric"}


@pytest.mark.parametrize("module", [name for name in modules() if place_of(name) != "cli"])
def test_only_the_command_line_prints(module: str) -> None:
    names = {ast.unparse(node) for node in ast.walk(tree_of(module)) if isinstance(node, ast.Name | ast.Attribute)}
    assert names.isdisjoint({"print", "sys.stdout", "sys.stderr"})


def loaded(code: str) -> set[str]:
    """Heavy modules that are loaded after some code ran in a fresh process."""
    script = f"import sys\n{code}\nsys.stdout = sys.__stdout__\nimport json\nprint(json.dumps(sorted(sys.modules)))"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    return {name for name in json.loads(ended.stdout.splitlines()[-1]) if name in HEAVY}


def test_importing_coreset_loads_nothing_heavy() -> None:
    assert loaded("import coreset") == set()


@pytest.mark.parametrize("arguments", [["--help"], ["--version"]], ids=str)
def test_help_loads_nothing_heavy(arguments: list[str]) -> None:
    code = f"""
import io
from coreset.cli import main
sys.argv = ["coreset", *{arguments}]
sys.stdout = io.StringIO()
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
assert sys.stdout.getvalue()
"""
    assert loaded(code) == set()


def test_every_public_name_is_there() -> None:
    for name in coreset.__all__:
        assert getattr(coreset, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        _ = coreset.nothing
