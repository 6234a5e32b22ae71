"""The notebooks run from beginning to end, offline, and use nothing but the public names of coreset."""

from __future__ import annotations

import ast
import shutil
from pathlib import Path
from typing import Any

import nbformat
import pytest
from command import contents
from nbclient import NotebookClient

import coreset

NOTEBOOKS = sorted((Path(__file__).resolve().parent.parent / "notebooks").glob("*.ipynb"))
CELL_SECONDS = 300


def name_of(path: Path) -> str:
    return path.name


def code_of(path: Path) -> list[str]:
    return [cell.source for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"]


def test_there_are_notebooks() -> None:
    assert NOTEBOOKS


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_stored_without_outputs(path: Path) -> None:
    for cell in nbformat.read(path, as_version=4).cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_uses_public_names_only(path: Path) -> None:
    for source in code_of(path):
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                assert not [alias.name for alias in node.names if alias.name.startswith("coreset.")]
            elif isinstance(node, ast.ImportFrom) and (node.module or "").partition(".")[0] == "coreset":
                assert node.module == "coreset"
                assert {alias.name for alias in node.names} <= set(coreset.__all__)
            elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "coreset":
                assert node.attr in coreset.__all__


def test_an_import_of_an_inner_module_would_be_noticed(tmp_path: Path) -> None:
    for source in ("import coreset.rows", "from coreset.rows import ROWS", "from coreset import rows", "coreset.rows"):
        path = tmp_path / "bad.ipynb"
        nbformat.write(nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(source)]), path)
        with pytest.raises(AssertionError):
            test_uses_public_names_only(path)


def executed(path: Path, folder: Path) -> list[Any]:
    """The outputs of a notebook, run in an empty folder, which stays empty."""
    folder.mkdir()
    place = {"metadata": {"path": str(folder)}}
    notebook = nbformat.read(path, as_version=4)
    done = NotebookClient(notebook, timeout=CELL_SECONDS, kernel_name="python3", resources=place).execute()
    assert not list(folder.iterdir())
    return [output for cell in done.cells for output in cell.get("outputs", [])]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=name_of)
def test_runs(path: Path, tmp_path: Path, demo: coreset.Run, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first one makes the demo's run, the others look at one that is there: it takes most of the time."""
    run = shutil.copytree(demo.folder, tmp_path / "run")
    if path != NOTEBOOKS[0]:
        monkeypatch.setenv("CORESET_RUN", str(run))
    before = contents(run)
    outputs = executed(path, tmp_path / "empty")
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output.text for output in outputs if output.get("name") == "stderr"]
    assert sum("image/png" in output.get("data", {}) for output in outputs) >= 8
    after = contents(run)
    assert {name: after[name] for name in before} == before
    assert {name.partition("/")[0] for name in after.keys() - before.keys()} <= {"forest"}
