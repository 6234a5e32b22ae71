"""Packages of the index that cannot be installed beside ours: in a folder of their own, without what they require."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

REQUIRED = "CORESET_REQUIRE_INDEX"
"""If it is set, an index that cannot be reached fails the tests instead of skipping them."""
SECONDS = 120


def fetched(requirement: str, folder: Path) -> Path:
    """The folder with one package alone; skips the test where pip cannot get it."""
    alone = ("--no-deps", "--only-binary", ":all:", "--target", str(folder))
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", *alone, requirement]
    try:
        ended = subprocess.run(command, capture_output=True, text=True, check=False, timeout=SECONDS)
        said = ended.stderr if ended.returncode else ""
    except subprocess.TimeoutExpired:
        said = f"no answer in {SECONDS} s"
    if said:
        why = f"pip cannot get {requirement}: {said.strip().splitlines()[-1]}"
        pytest.fail(why) if os.environ.get(REQUIRED) else pytest.skip(why)
    return folder
