"""What `auto` stands for on this machine, and where the weights of a model lie."""

from __future__ import annotations

import difflib
import hashlib
import os
from pathlib import Path
from typing import Any

import open_clip
import torch
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf, get_pretrained_cfg

from coreset.encoder.choice import Weights
from coreset.encoder.quiet import quiet
from coreset.engine.errors import InputError, UsageError
from coreset.engine.files import is_remote, local_path

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16", "bf16"}
"""As Linux names them, on x86 and on ARM."""
LOCAL, HUB = "local-dir:", "hf-hub:"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin")


def resolved_device(device: str) -> str:
    """`auto` becomes CUDA where there is one, else the CPU.

    Raises:
        InputError: CUDA is asked for and not there.
        UsageError: No such device is known.
    """
    if device == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if device.partition(":")[0] not in {"cpu", "cuda"}:
        raise UsageError(f"--device {device} is not known; use auto, cpu, cuda or cuda:N.")
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise InputError(f"--device {device} is not available on this machine; use --device cpu.")
    return device


def resolved_precision(precision: str, device: str) -> str:
    """`auto` becomes float16 on CUDA; on a CPU bfloat16 if it multiplies such numbers, else float32.

    Raises:
        UsageError: No such precision is known.
    """
    if precision == "auto":
        if device.startswith("cuda"):
            return "float16"
        return "bfloat16" if multiplies_bfloat16() else "float32"
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision} is not known; use auto, {', '.join(PRECISIONS)}.")
    return precision


def multiplies_bfloat16(cpuinfo: str = "/proc/cpuinfo") -> bool:
    """Whether this machine's processor has instructions for products of bfloat16 matrices; False if it does not say.

    Example:
        >>> multiplies_bfloat16("/nowhere")
        False
    """
    try:
        said = Path(cpuinfo).read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return not BFLOAT16_FLAGS.isdisjoint(said.split())


def found_weights(model: str, pretrained: str | None) -> Weights:
    """The weights of a model: a file of the user's, a folder's, or what open_clip downloads once and keeps.

    Raises:
        InputError: The name is not known, a file is not there, or a download was not possible.
    """
    if model.startswith(LOCAL):
        folder = local_path(model.removeprefix(LOCAL))
        config = folder / "open_clip_config.json"
        if not config.is_file():
            raise InputError(f"{config} does not exist: {LOCAL} needs a folder with open_clip_config.json and weights.")
        location = _weights_in(folder)
        return Weights(str(location), _sha256(config, location), quick_gelu=False)
    if model.startswith(HUB):
        repository = model.removeprefix(HUB)
        config = Path(_downloaded(model, lambda: download_pretrained_from_hf(repository, "open_clip_config.json")))
        location = Path(_downloaded(model, lambda: download_pretrained_from_hf(repository)))
        return Weights(str(location), _sha256(config, location), quick_gelu=False)
    name = model.replace("/", "-")
    if open_clip.get_model_config(name) is None:
        raise InputError(f"Model {model} is not known{_nearest(model, open_clip.list_models())}; see open_clip's list.")
    if pretrained is None:
        raise UsageError(f"--model {model} needs --pretrained: a tag, a weights file or a folder.")
    if is_remote(pretrained) or os.path.exists(pretrained):
        location = local_path(pretrained)
        location = _weights_in(location) if location.is_dir() else location
        return Weights(str(location), _sha256(location), quick_gelu=False)
    config_of_tag = get_pretrained_cfg(name, pretrained)
    if not config_of_tag:
        tags = open_clip.list_pretrained_tags_by_model(name)
        raise InputError(
            f"--pretrained {pretrained} is neither a file nor a tag of {model}"
            f"{_nearest(pretrained, tags)}; its tags are {', '.join(tags) or 'none'}."
        )
    location = Path(_downloaded(f"{model} {pretrained}", lambda: download_pretrained(config_of_tag)))
    return Weights(str(location), _sha256(location), quick_gelu=bool(config_of_tag.get("quick_gelu")))


def _weights_in(folder: Path) -> Path:
    for name in WEIGHTS:
        if (folder / name).is_file():
            return folder / name
    found = sorted([*folder.glob("*.safetensors"), *folder.glob("*.bin"), *folder.glob("*.pt")])
    if len(found) != 1:
        raise InputError(f"{folder} holds {len(found)} weights files instead of one; name the file itself.")
    return found[0]


def _sha256(*locations: Path) -> str:
    digest = hashlib.sha256()
    for location in locations:
        with location.open("rb") as file:
            while block := file.read(8 << 20):
                digest.update(block)
    return digest.hexdigest()


def _downloaded(name: str, download: Any) -> str:  # noqa: ANN401  open_clip has no types
    try:
        with quiet():
            return str(download())
    except Exception as error:  # the hub client raises its own and the HTTP library's exceptions
        raise InputError(
            f"The weights of {name} could not be downloaded ({type(error).__name__}); "
            f"give a local file with --pretrained FILE, or a folder with --model local-dir:FOLDER."
        ) from error


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""
