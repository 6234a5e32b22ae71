"""Exported vectors indexed by autofaiss, whose libraries need not be those of this environment.

`CORESET_AUTOFAISS` names a Python that has it (`pip install autofaiss` in an environment of its own); skipped without.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import numpy as np
import pytest
from command import done

INDEXER = Path(__file__).parents[2] / "loaders/index_vectors.py"


def test_autofaiss_finds_every_row_of_an_export(undisturbed: Path, tmp_path: Path) -> None:
    python = os.environ.get("CORESET_AUTOFAISS")
    if not python:
        pytest.skip("CORESET_AUTOFAISS names no Python with autofaiss")
    done("export", "clip-retrieval", str(tmp_path / "out"), cwd=undisturbed)
    vectors_of = tmp_path / "out/img_emb"
    command = [python, str(INDEXER), str(vectors_of)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=tmp_path)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    vectors = np.concatenate([np.load(file) for file in sorted(vectors_of.iterdir())]).astype(np.float32)
    assert found["rows"] == len(vectors) > 0
    np.testing.assert_allclose(found["scores"], (vectors * vectors[found["nearest"]]).sum(1), atol=1e-3)
    np.testing.assert_allclose(found["scores"], 1, atol=2e-3)
