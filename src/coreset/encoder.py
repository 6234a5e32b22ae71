"""Pictures and captions to unit vectors: what an encoder is, and every model that open_clip loads.

The only module that imports open_clip. Importing it takes seconds, so stages import it inside their tasks.
"""

from __future__ import annotations

import difflib
import functools
import hashlib
import json
import logging
import os
import pickle
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import open_clip
import torch
from jaxtyping import Float32
from open_clip.pretrained import download_pretrained, download_pretrained_from_hf, get_pretrained_cfg
from PIL import Image
from safetensors import SafetensorError

from coreset.engine.errors import InputError, ResourceError, UsageError

PRECISIONS = {"float32": "fp32", "bfloat16": "bf16", "float16": "fp16"}
LOCAL, HUB = "local-dir:", "hf-hub:"
WEIGHTS = ("open_clip_model.safetensors", "model.safetensors", "open_clip_pytorch_model.bin")


class Encoder(Protocol):
    """Anything that gives unit vectors for pictures and captions, all of one dimension."""

    dimension: int

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """What the model reads for a picture; may be called from several threads."""
        ...

    def image_vectors(self, prepared: list[torch.Tensor]) -> Float32[np.ndarray, "b d"]:
        """A float32 vector of length 1 for each prepared picture."""
        ...

    def text_vectors(self, captions: list[str]) -> Float32[np.ndarray, "b d"]:
        """A float32 vector of length 1 for each caption."""
        ...


@dataclass(frozen=True)
class Choice:
    """Which model, and how it is to run; small and picklable, so that each worker loads its own.

    Attributes:
        model: as open_clip names it: `ViT-L-14`, `local-dir:FOLDER` or `hf-hub:NAME`
        pretrained: a tag of open_clip's or a weights file; None for the forms that name a folder or a hub
        quick_gelu: whether the activation is forced to quick-GELU
        device: `cpu`, `cuda` or `cuda:N`
        precision: `float32`, `bfloat16` or `float16`: of weights and activations
        batch_size: pictures in one call of the model; a short batch is padded, so the shape never changes
        threads: threads of one call
    """

    model: str
    pretrained: str | None
    quick_gelu: bool
    device: str
    precision: str
    batch_size: int
    threads: int


@dataclass(frozen=True)
class Weights:
    """The weights that a choice of model stands for.

    Attributes:
        location: the file
        sha256: of its bytes, and of the model's own configuration when that is a file too
        quick_gelu: whether these weights were trained with quick-GELU
    """

    location: str
    sha256: str
    quick_gelu: bool


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
    """`auto` becomes float16 on CUDA and float32 on a CPU.

    Raises:
        UsageError: No such precision is known.
    """
    if precision == "auto":
        return "float16" if device.startswith("cuda") else "float32"
    if precision not in PRECISIONS:
        raise UsageError(f"--precision {precision} is not known; use auto, {', '.join(PRECISIONS)}.")
    return precision


def found_weights(model: str, pretrained: str | None) -> Weights:
    """The weights of a model: a file of the user's, a folder's, or what open_clip downloads once and keeps.

    Raises:
        InputError: The name is not known, a file is not there, or a download was not possible.
    """
    if model.startswith(LOCAL):
        folder = Path(model.removeprefix(LOCAL))
        config = folder / "open_clip_config.json"
        if not config.is_file():
            raise InputError(f"{config} does not exist: {LOCAL} needs a folder with open_clip_config.json and weights.")
        location = _weights_in(folder)
        return Weights(str(location), _sha256(config, location), quick_gelu=False)
    if model.startswith(HUB):
        location = Path(_downloaded(model, lambda: download_pretrained_from_hf(model.removeprefix(HUB))))
        return Weights(str(location), _sha256(location), quick_gelu=False)
    name = model.replace("/", "-")
    if open_clip.get_model_config(name) is None:
        raise InputError(f"Model {model} is not known{_nearest(model, open_clip.list_models())}; see open_clip's list.")
    if pretrained is None:
        raise UsageError(f"--model {model} needs --pretrained: a tag, a weights file or a folder.")
    if os.path.exists(pretrained):
        location = _weights_in(Path(pretrained)) if os.path.isdir(pretrained) else Path(pretrained)
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


def configured_dimension(model: str) -> int:
    """How many numbers a vector of a model has, without loading it; 0 if its configuration is not at hand.

    Example:
        >>> configured_dimension("ViT-L-14"), configured_dimension("hf-hub:some/model")
        (768, 0)
    """
    if model.startswith(LOCAL):
        text = (Path(model.removeprefix(LOCAL)) / "open_clip_config.json").read_text(encoding="utf-8")
        found = json.loads(text).get("model_cfg") or {}
    elif model.startswith(HUB):  # it would have to be fetched
        found = {}
    else:
        found = open_clip.get_model_config(model.replace("/", "-")) or {}
    return int(found.get("embed_dim", 0))


@functools.lru_cache(maxsize=1)
def loaded_encoder(choice: Choice) -> OpenClipEncoder:
    """The encoder of a choice; loaded once in a process.

    Raises:
        InputError: The weights do not fit the model.
        ResourceError: The device has not enough memory.
    """
    return OpenClipEncoder(choice)


class OpenClipEncoder:
    """A model of open_clip's with its own preprocessing and tokenizer.

    Example:
        >>> from coreset.demo import demo_choice
        >>> encoder = loaded_encoder(demo_choice())
        >>> vectors = encoder.text_vectors(["a red heart", "a black cat"])
        >>> vectors.shape[1] == encoder.dimension
        True
    """

    def __init__(self, choice: Choice) -> None:
        self._choice = choice
        self._device = torch.device(choice.device)
        self._dtype = getattr(torch, choice.precision)
        try:
            with _quiet():
                self._model, _, self._preprocess = open_clip.create_model_and_transforms(
                    choice.model,
                    pretrained=choice.pretrained,
                    precision=PRECISIONS[choice.precision],
                    device=self._device,
                    force_quick_gelu=choice.quick_gelu,
                )
                self._tokenizer = open_clip.get_tokenizer(choice.model)
        except torch.OutOfMemoryError as error:
            raise ResourceError(f"{choice.model} does not fit into the memory of {choice.device}.") from error
        except pickle.UnpicklingError as error:
            raise InputError(
                f"{_name(choice)} could not be loaded: it is damaged, or holds more than tensors, which may run code; "
                f"save it as safetensors where you trust it."
            ) from error
        except (RuntimeError, ValueError, KeyError, OSError, SafetensorError) as error:
            raise InputError(f"{_name(choice)} could not be loaded: {_first_line(error)}.") from error
        self._model.eval().requires_grad_(False)
        self.dimension = self.text_vectors([""]).shape[1]

    def prepared(self, image: Image.Image) -> torch.Tensor:
        """The model's own preprocessing of an RGB picture: float32 (3, height, width)."""
        tensor: torch.Tensor = self._preprocess(image)
        return tensor

    def image_vectors(self, prepared: list[torch.Tensor]) -> Float32[np.ndarray, "b d"]:
        """A float32 vector of length 1 for each prepared picture, at most a batch of them."""
        batch = self._padded(torch.stack(prepared)).to(self._device, self._dtype)
        return self._unit(self._model.encode_image, batch, len(prepared))

    def text_vectors(self, captions: list[str]) -> Float32[np.ndarray, "b d"]:
        """A float32 vector of length 1 for each caption, at most a batch of them."""
        tokens = self._padded(self._tokenizer(captions)).to(self._device)
        return self._unit(self._model.encode_text, tokens, len(captions))

    def _padded(self, batch: torch.Tensor) -> torch.Tensor:
        short = self._choice.batch_size - len(batch)
        return torch.cat([batch, batch[-1:].expand(short, *batch.shape[1:])]) if short > 0 else batch

    @torch.inference_mode()
    def _unit(self, encode: Any, batch: torch.Tensor, count: int) -> Float32[np.ndarray, "b d"]:  # noqa: ANN401
        threads = torch.get_num_threads()
        torch.set_num_threads(self._choice.threads)
        try:
            features = encode(batch)[:count].float()
        finally:
            torch.set_num_threads(threads)
        vectors: np.ndarray[Any, Any] = torch.nn.functional.normalize(features, dim=-1).cpu().numpy()
        return vectors


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
        with _quiet():
            return str(download())
    except Exception as error:  # the hub client raises its own and the HTTP library's exceptions
        raise InputError(
            f"The weights of {name} could not be downloaded ({type(error).__name__}); "
            f"give a local file with --pretrained FILE, or a folder with --model local-dir:FOLDER."
        ) from error


def _nearest(name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=3)
    return f" (did you mean {' or '.join(near)}?)" if near else ""


def _name(choice: Choice) -> str:
    return f"{choice.model} {choice.pretrained or ''}".strip()


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0][:300]


class _quiet(warnings.catch_warnings):  # noqa: N801  a context manager, used like a function
    """Keep what open_clip and the hub client log and warn of off the terminal; failures raise anyway."""

    def __enter__(self) -> None:
        super().__enter__()
        warnings.simplefilter("ignore")
        self._level = logging.root.manager.disable
        logging.disable(logging.ERROR)

    def __exit__(self, *exc_info: Any) -> None:  # noqa: ANN401  passed on as it is
        logging.disable(self._level)
        super().__exit__(*exc_info)
