"""What the shell offers when TAB is pressed."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from coreset.cli.complete import VALUES, recipes, run_folders
from coreset.dedup import KEEP
from coreset.encoder.found import PRECISIONS
from coreset.import_ import COSINES, FEATURES
from coreset.sources.embeddings import AUTO, FORMATS

SCRIPT = str(Path(sys.executable).parent / "coreset")
HEAVY = ("torch", "faiss", "pyarrow", "numpy", "scipy", "open_clip")


def offered(line: str, cwd: Path) -> list[str]:
    """What bash gets for a line, asked as its completion function asks."""
    asked = {"_CORESET_COMPLETE": "complete_bash", "COMP_WORDS": line, "COMP_CWORD": str(len(line.split(" ")) - 1)}
    said = subprocess.run([SCRIPT], env=os.environ | asked, cwd=cwd, capture_output=True, text=True, check=True)
    return said.stdout.split()


def test_commands_are_completed(tmp_path: Path) -> None:
    assert sorted(offered("coreset de", tmp_path)) == ["decisions", "dedup", "demo"]


def test_values_runs_and_recipes_are_completed(undisturbed: Path) -> None:
    assert offered("coreset dedup --keep ", undisturbed) == list(KEEP)
    assert offered("coreset status --run r", undisturbed) == ["run"]
    assert offered("coreset run ", undisturbed) == ["coreset.toml"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_every_shell_can_be_told(shell: str) -> None:
    asked = os.environ | {"_CORESET_COMPLETE": f"source_{shell}"}
    said = subprocess.run([SCRIPT], env=asked, capture_output=True, text=True, check=False)
    assert "_CORESET_COMPLETE=complete_" in said.stdout


def test_folders_of_runs_are_told_from_others(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(undisturbed)
    assert run_folders("") == ["run"]
    assert run_folders("x[") == []
    assert recipes("core") == ["coreset.toml"]


def test_the_values_are_those_of_the_code() -> None:
    assert VALUES["keep"] == KEEP
    assert VALUES["precision"] == (AUTO, *PRECISIONS)
    assert VALUES["format"] == (AUTO, *FORMATS)
    assert set(VALUES["text_cosine"]) == set(COSINES)
    assert VALUES["features"] == FEATURES


def test_completing_loads_nothing_heavy() -> None:
    code = f"""
import os, sys
os.environ |= {{"_CORESET_COMPLETE": "complete_bash", "COMP_WORDS": "coreset dedup --run r", "COMP_CWORD": "3"}}
sys.argv = ["coreset"]
from coreset.cli import main
try:
    main()
except SystemExit:
    pass
assert not [name for name in {HEAVY} if name in sys.modules]
"""
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
