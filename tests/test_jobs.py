"""The job files for clusters: well formed, and the commands in them are ours."""

from __future__ import annotations

import re
import shlex
import subprocess
from pathlib import Path

import pytest
import typer.main
import yaml

from coreset.cli.commands import app

FOLDER = Path(__file__).resolve().parent.parent / "pipelines" / "ray"
COMMANDS = typer.main.get_command(app).commands  # type: ignore[attr-defined]
LINE = re.compile(r"^[^#\n]*\bcoreset (run .*)$", re.MULTILINE)


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_job_is_well_formed(path: Path) -> None:
    text = path.read_text()
    assert "CHANGE" in text or "RAY_ADDRESS" in text, "what to change is said"
    if path.suffix == ".sh":
        subprocess.run(["bash", "-n", path], check=True)
        assert path.stat().st_mode & 0o111
        assert "set -euo pipefail" in text
    else:
        yaml.safe_load(text)
    for line in LINE.findall(text):
        flags = [word for word in shlex.split(line) if word.startswith("--")]
        known = {name for parameter in COMMANDS["run"].params for name in parameter.opts}
        assert "--ray" in flags
        assert set(flags) <= known


def test_a_cluster_of_clouds_is_one_that_ray_accepts() -> None:
    from ray.autoscaler._private.util import prepare_config, validate_config

    validate_config(prepare_config(yaml.safe_load((FOLDER / "cluster.yaml").read_text())))


def test_nothing_listens_to_the_world() -> None:
    for path in FOLDER.iterdir():
        assert "0.0.0.0" not in path.read_text()  # noqa: S104  what must not be there


def test_the_job_of_kuberay_has_what_its_schema_asks_for() -> None:
    job = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())
    assert (job["apiVersion"], job["kind"]) == ("ray.io/v1", "RayJob")
    cluster = job["spec"]["rayClusterSpec"]
    groups = [cluster["headGroupSpec"], *cluster["workerGroupSpecs"]]
    for group in groups:
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}, "all pods see the same paths"
    assert len({container["image"] for group in groups for container in group["template"]["spec"]["containers"]}) == 1
