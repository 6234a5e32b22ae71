"""A finished run of mixed shards, made once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from exporting import made_run


@pytest.fixture(scope="session")
def mixed_once(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A folder with shards/, coreset.toml and a finished run/; not to be written to."""
    return made_run(tmp_path_factory.mktemp("mixed"), clip)


@pytest.fixture
def mixed(tmp_path: Path, mixed_once: Path) -> Path:
    """The same, of one's own: its run reads its own shards."""
    folder = shutil.copytree(mixed_once, tmp_path / "mixed")
    noted = folder / "run" / "run.json"
    noted.write_text(json.dumps({**json.loads(noted.read_text()), "root": f"{folder}/shards"}))
    return folder
