"""A tiny CLIP, shards that suit it, and a finished run of both, made once."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest
from hypothesis import settings
from jaxtyping import install_import_hook

# Shapes in signatures are checked here, and only here; the hook must come before numeric is imported.
install_import_hook("coreset.numeric", "beartype.beartype")
settings.register_profile("coreset", deadline=None, derandomize=True)  # shared machines are slow now and then
settings.load_profile("coreset")

collect_ignore = ["loaders"]  # programs for environments of their own

os.environ["HF_HUB_OFFLINE"] = "1"  # read when the hub client is imported: no test needs a network
for name in ("CORESET_RUN", "CORESET_FAULT"):
    os.environ.pop(name, None)

from command import done  # noqa: E402  after the environment is set
from shards import recipe, write_clip, write_shards  # noqa: E402

import coreset  # noqa: E402  after the environment is set


@pytest.fixture(scope="session")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a CLIP with random weights."""
    return write_clip(tmp_path_factory.mktemp("model") / "clip")


@pytest.fixture(scope="session")
def pristine(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A folder with shards/ and coreset.toml; not to be written to."""
    folder = tmp_path_factory.mktemp("pristine")
    write_shards(folder / "shards")
    (folder / "coreset.toml").write_text(recipe(clip))
    return folder


@pytest.fixture(scope="session")
def undisturbed(tmp_path_factory: pytest.TempPathFactory, pristine: Path) -> Path:
    """The same folder with a finished run/; not to be written to."""
    folder = shutil.copytree(pristine, tmp_path_factory.mktemp("undisturbed") / "place")
    done("run", "--max-bad", "10", cwd=folder)
    return folder


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> coreset.Run:
    """The finished run of the demo; not to be written to."""
    run = coreset.Run(str(tmp_path_factory.mktemp("demo") / "run"))
    coreset.selected(run, coreset.read_recipe(coreset.DEMO_RECIPE))
    return run


@pytest.fixture
def place(tmp_path: Path, pristine: Path) -> Path:
    """A folder with shards/ and coreset.toml of one's own."""
    return shutil.copytree(pristine, tmp_path / "place")


@pytest.fixture
def finished(tmp_path: Path, undisturbed: Path) -> Path:
    """A folder with shards/, coreset.toml and a finished run/ of one's own."""
    return shutil.copytree(undisturbed, tmp_path / "finished")
