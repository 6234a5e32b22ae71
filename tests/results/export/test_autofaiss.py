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


@pytest.mark.parametrize("kind", ["img_emb", "text_emb"])
def test_autofaiss_finds_every_row_of_an_export(kind: str, place: Path) -> None:
    python = os.environ.get("CORESET_AUTOFAISS")
    if not python:
        pytest.skip("CORESET_AUTOFAISS names no Python with autofaiss")
    recipe = (place / "coreset.toml").read_text()
    (place / "coreset.toml").write_text(recipe.replace("[embed]", "[embed]\nkeep_text_vectors = true"))
    done("run", "--max-bad", "10", cwd=place)
    done("export", "clip-retrieval", "out", cwd=place)
    command = [python, str(INDEXER), str(place / "out" / kind)]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, cwd=place)
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout.splitlines()[-1])
    vectors = np.concatenate([np.load(file) for file in sorted((place / "out" / kind).iterdir())]).astype(np.float32)
    assert found["rows"] == len(vectors) > 0
    np.testing.assert_allclose(found["scores"], (vectors * vectors[found["nearest"]]).sum(1), atol=1e-3)
    np.testing.assert_allclose(found["scores"], 1, atol=2e-3)
