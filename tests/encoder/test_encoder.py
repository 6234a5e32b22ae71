"""The encoder against open_clip called directly, and the promises about batches and bad choices."""

from __future__ import annotations

import dataclasses
import io
from pathlib import Path

import numpy as np
import open_clip
import pytest
import torch
from PIL import Image

from coreset.demo import FOLDER, MODEL, demo_choice
from coreset.embed_rows import How, embedded_pairs
from coreset.encoder import Choice, as_array, found_weights, loaded_encoder, resolved_device, resolved_precision
from coreset.encoder.found import multiplies_bfloat16
from coreset.engine.errors import InputError, UsageError
from coreset.sources.pictures import MAX_PIXELS, decoded
from coreset.sources.tars import Pair, Reject, find_shards, read_pairs

CHOICE = dataclasses.replace(demo_choice(), batch_size=16)
HOW = How(16, 1, MAX_PIXELS)


@pytest.fixture(scope="module")
def pairs() -> list[Pair]:
    shards = find_shards([f"{FOLDER}/shards/noto-emoji/*.tar"])
    return [pair for pair in read_pairs(shards[0]) if isinstance(pair, Pair)][:40]


def test_float32_vectors_are_those_of_open_clip_called_directly(pairs: list[Pair]) -> None:
    model, _, preprocess = open_clip.create_model_and_transforms(MODEL)
    tokenizer = open_clip.get_tokenizer(MODEL)
    model.eval()
    with torch.inference_mode():
        pictures = torch.stack([preprocess(Image.open(io.BytesIO(pair.image)).convert("RGB")) for pair in pairs])
        images = model.encode_image(pictures, normalize=True).numpy()
        texts = model.encode_text(tokenizer([pair.caption for pair in pairs]), normalize=True).numpy()
    found = list(embedded_pairs(pairs, loaded_encoder(CHOICE), HOW, []))
    vectors = np.concatenate([window.images for window in found])
    cosines = np.concatenate([window.cosines for window in found])
    np.testing.assert_allclose(vectors, images, atol=2e-6)
    np.testing.assert_allclose(cosines, (images * texts).sum(1), atol=4e-6)
    assert np.abs(np.linalg.norm(vectors.astype(np.float16).astype(np.float64), axis=1) - 1).max() < 1e-3


def test_a_vector_does_not_depend_on_what_fills_the_batch(pairs: list[Pair]) -> None:
    encoder = loaded_encoder(CHOICE)
    prepared = [encoder.prepared(decoded(pair.image)) for pair in pairs[:16]]
    together = as_array(encoder.image_vectors(prepared))
    assert np.array_equal(as_array(encoder.image_vectors(prepared[:5])), together[:5])
    captions = [pair.caption for pair in pairs[:16]]
    together = as_array(encoder.text_vectors(captions))
    assert np.array_equal(as_array(encoder.text_vectors(captions[:3])), together[:3])


def test_bfloat16_is_close_to_float32(pairs: list[Pair]) -> None:
    prepared = [loaded_encoder(CHOICE).prepared(decoded(pair.image)) for pair in pairs[:16]]
    captions = [pair.caption or "" for pair in pairs]
    for called, given in (("image_vectors", prepared), ("text_vectors", captions)):
        exact, rough = (
            as_array(getattr(loaded_encoder(dataclasses.replace(CHOICE, precision=kind)), called)(given))
            for kind in ("float32", "bfloat16")
        )
        assert np.quantile((exact * rough).sum(1), 0.001) >= 0.999


def test_a_picture_that_cannot_be_decoded_is_rejected_with_its_key(pairs: list[Pair]) -> None:
    cut = dataclasses.replace(pairs[1], image=pairs[1].image[: len(pairs[1].image) // 2])
    rejects: list[Reject] = []
    found = list(embedded_pairs([pairs[0], cut, pairs[2]], loaded_encoder(CHOICE), HOW, rejects))
    assert [pair.key for pair in found[0].pairs] == [pairs[0].key, pairs[2].key]
    assert [(reject.key, reject.reason) for reject in rejects] == [(cut.key, "undecodable_picture")]


def test_a_vector_that_is_not_finite_is_rejected(pairs: list[Pair]) -> None:
    class Broken:
        dimension = 2

        def prepared(self, image: Image.Image) -> torch.Tensor:
            return torch.zeros(1)

        def image_vectors(self, prepared: list[torch.Tensor]) -> np.ndarray:
            return np.float32([[1, 0], [np.nan, 0], [0, 0]])

        def text_vectors(self, captions: list[str]) -> np.ndarray:
            return np.float32([[1, 0]] * len(captions))

    rejects: list[Reject] = []
    found = list(embedded_pairs(pairs[:3], Broken(), HOW, rejects))
    assert [pair.key for pair in found[0].pairs] == [pairs[0].key]
    assert [reject.reason for reject in rejects] == ["not_finite", "not_finite"]


def saved(folder: Path, name: str) -> Path:
    """Weights of a randomly initialised model of open_clip's, as a file."""
    from safetensors.torch import save_file

    torch.manual_seed(0)
    model = open_clip.create_model(name, load_weights=False, pretrained_text=False, pretrained_image=False)
    file = folder / "weights.safetensors"
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, file)
    return file


def test_a_named_model_loads_from_a_file_and_from_its_folder(tmp_path: Path) -> None:
    file = saved(tmp_path, "RN50")
    for place in (file, tmp_path):
        weights = found_weights("RN50", str(place))
        assert weights.location == str(file)
    choice = Choice("RN50", str(file), quick_gelu=False, device="cpu", precision="float32", batch_size=2, threads=1)
    assert loaded_encoder(choice).dimension == 1024
    with pytest.raises(InputError, match=r"ViT-B-32 .*could not be loaded"):
        loaded_encoder(dataclasses.replace(choice, model="ViT-B-32"))


@pytest.mark.parametrize(
    ("model", "pretrained", "says"),
    [
        ("ViT-L14", "openai", "did you mean ViT-L-14"),
        ("ViT-L-14", "openia", "did you mean openai"),
        ("local-dir:/nowhere", None, "needs a folder with open_clip_config.json"),
    ],
)
def test_a_model_that_is_not_there_is_named_with_the_nearest(model: str, pretrained: str | None, says: str) -> None:
    with pytest.raises(InputError, match=says):
        found_weights(model, pretrained)


def test_weights_that_must_be_downloaded_and_cannot_are_said_in_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(InputError, match=r"weights of ViT-L-14 openai could not be downloaded .* --pretrained FILE"):
        found_weights("ViT-L-14", "openai")


def test_device_and_precision_are_resolved_for_the_machine() -> None:
    expected = "cuda" if torch.cuda.is_available() else "cpu"
    assert resolved_device("auto") == expected
    assert resolved_precision("auto", "cpu") == ("bfloat16" if multiplies_bfloat16() else "float32")
    assert resolved_precision("auto", "cuda") == "float16"
    with pytest.raises(UsageError, match="tpu"):
        resolved_device("tpu")
    with pytest.raises(UsageError, match="float8"):
        resolved_precision("float8", "cpu")


@pytest.mark.skipif(torch.cuda.is_available(), reason="the machine has a GPU")
def test_cuda_is_refused_where_there_is_none() -> None:
    with pytest.raises(InputError, match="not available on this machine"):
        resolved_device("cuda")
