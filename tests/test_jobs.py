"""The job files for clusters: well formed, and the commands in them are ours."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import time
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


SHIM = """#!/usr/bin/env bash
case "$(basename "$0")" in
    srun) while [[ $1 == --* ]]; do shift; done; exec "$@" ;;
    scontrol) printf 'one\ntwo\nthree\n' ;;
    hostname) echo "192.0.2.1 198.51.100.1" ;;
    sleep) ;;
    *) printf '%s\n' "$(basename "$0") $*" >> "$SAID" ;;
esac
"""
"""Stands for the programs that a script calls: Slurm's run what they are given, others note it."""


def said_by(script: str, folder: Path, calls: int, **environment: str) -> list[str]:
    """What a script would call on its cluster, once it has made so many calls: some are made in the background."""
    for name in ("srun", "scontrol", "hostname", "sleep", "ray", "coreset"):
        (folder / name).write_text(SHIM)
        (folder / name).chmod(0o755)
    said = folder / "said"
    given = {"PATH": f"{folder}:{os.environ['PATH']}", "SAID": str(said), **environment}
    subprocess.run([FOLDER / script, "/shared/coreset.toml", "/shared/run"], env=given, check=True, timeout=60)
    limit = time.monotonic() + 30
    while len(said.read_text().splitlines()) < calls and time.monotonic() < limit:
        time.sleep(0.05)
    return sorted(said.read_text().splitlines())


def check_flags(line: str) -> None:
    """Whether Ray has the command, and each of its flags."""
    from ray.dashboard.modules.job.cli import submit
    from ray.scripts.scripts import start

    command, words = (
        (start, line.split()) if line.startswith("ray start") else (submit, line.split(" -- ", maxsplit=1)[0].split())
    )
    flags = {word.partition("=")[0] for word in words if word.startswith("--")}
    assert flags <= {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}


def test_slurm_starts_ray_on_every_node_and_the_selection_on_the_first(tmp_path: Path) -> None:
    said = said_by("slurm.sh", tmp_path, 3, SLURM_JOB_NODELIST="n[1-3]", SLURM_CPUS_PER_TASK="16")
    assert said == [
        "coreset run /shared/coreset.toml --run /shared/run --ray 192.0.2.1:6379 --quiet",
        "ray start --address=192.0.2.1:6379 --num-cpus=16 --block",
        "ray start --head --port=6379 --num-cpus=16 --include-dashboard=false --block",
    ]
    for line in said[1:]:
        check_flags(line)


def test_a_job_is_submitted_with_the_command(tmp_path: Path) -> None:
    (line,) = said_by("submit.sh", tmp_path, 1, RAY_ADDRESS="http://localhost:8265")
    assert line == (
        "ray job submit --address http://localhost:8265 --no-wait -- "
        "coreset run /shared/coreset.toml --run /shared/run --ray auto --quiet"
    )
    check_flags(line)


def test_the_job_of_kuberay_asks_for_a_token_and_can_be_submitted() -> None:
    cluster = yaml.safe_load((FOLDER / "rayjob.yaml").read_text())["spec"]["rayClusterSpec"]
    assert cluster["authOptions"] == {"mode": "token"}
    assert [int(number) for number in cluster["rayVersion"].split(".")] >= [2, 52, 0]
    assert "dashboard-host" not in cluster["headGroupSpec"]["rayStartParams"], "the operator must reach the job server"


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
