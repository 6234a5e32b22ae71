"""Every architecture against open_clip called directly, and its text tower cut against the whole one."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import numpy as np
import open_clip
import pytest
import torch
from models import ARCHITECTURES, WORDS, needs_products, write_model
from PIL import Image

from coreset.encoder import Choice, as_array, loaded_encoder
from coreset.encoder.captions import LENGTHS, CaptionTower
from coreset.encoder.open_clip_model import OpenClipEncoder
from coreset.encoder.packed import FirstTokenBlock, PackedLinear, PackedPatches, read_first_token
from coreset.engine.errors import ResourceError

CUT = {"clip", "resnet", "eva", "eos"}
"""Those whose text towers may be cut."""


@pytest.fixture(scope="module")
def named(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], str]:
    """The name of a model of an architecture, written when it is first asked for."""
    folder = tmp_path_factory.mktemp("models")

    def name(kind: str) -> str:
        return f"local-dir:{folder / kind}" if (folder / kind).exists() else write_model(folder / kind, kind)

    return name


def choice(model: str, precision: str = "float32") -> Choice:
    return Choice(model, None, quick_gelu=False, device="cpu", precision=precision, batch_size=8, threads=1)


def pictures(count: int = 20) -> list[Image.Image]:
    draw = np.random.default_rng(0)
    sizes = draw.integers(20, 90, (count, 2))
    return [Image.fromarray(draw.integers(0, 256, (h, w, 3), np.uint8)) for h, w in sizes]


def captions(count: int = 40, longest: int = 60) -> list[str]:
    """Of every length, the first one empty, the last one longer than any context."""
    draw = np.random.default_rng(1)
    return [" ".join(draw.choice(WORDS, longest * place // (count - 1))) for place in range(count)]


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_vectors_are_those_of_open_clip_called_directly(kind: str, named: Callable[[str], str]) -> None:
    if kind == "siglip":
        pytest.importorskip("transformers")
    model, _, preprocess = open_clip.create_model_and_transforms(named(kind))
    model.eval()
    tokens = open_clip.get_tokenizer(named(kind))(captions())
    with torch.inference_mode():
        images = model.encode_image(torch.stack([preprocess(image) for image in pictures()]), normalize=True)
        texts = model.encode_text(tokens, normalize=True)
    encoder = loaded_encoder(choice(named(kind)))
    prepared = [encoder.prepared(image) for image in pictures()]
    found = np.concatenate([as_array(encoder.image_vectors(prepared[start : start + 8])) for start in (0, 8, 16)])
    np.testing.assert_allclose(found, images, atol=2e-6)
    np.testing.assert_allclose(as_array(encoder.text_vectors(captions())), texts, atol=2e-6)


@pytest.mark.parametrize("kind", ARCHITECTURES)
def test_a_text_tower_is_cut_only_where_nothing_behind_the_end_is_seen(kind: str, named: Callable[[str], str]) -> None:
    context = ARCHITECTURES[kind]["text_cfg"]["context_length"]
    model = open_clip.create_model(named(kind)).eval()
    expected = (*(length for length in LENGTHS if length < context), context) if kind in CUT else (context,)
    assert CaptionTower(model, context).lengths == expected


@pytest.mark.parametrize("kind", sorted(CUT))
def test_a_caption_is_called_with_the_shortest_length_that_holds_it(kind: str, named: Callable[[str], str]) -> None:
    tokens = open_clip.get_tokenizer(named(kind))(captions())
    tower = CaptionTower(open_clip.create_model(named(kind)).eval(), tokens.shape[1])
    called = {int(row): length for rows, length, _ in tower.groups(tokens, 8) for row in rows}
    ends = {row: int((tokens[row] == 49407).int().argmax()) + 1 for row in range(len(tokens))}
    assert called == {row: next(length for length in tower.lengths if length >= end) for row, end in ends.items()}
    assert set(called.values()) == set(tower.lengths)


def test_a_caption_is_the_same_whatever_stands_beside_it(named: Callable[[str], str]) -> None:
    encoder = loaded_encoder(choice(named("clip")))
    together = as_array(encoder.text_vectors(captions()))
    alone = np.concatenate([as_array(encoder.text_vectors([caption])) for caption in captions()])
    assert np.array_equal(together, alone)


@pytest.mark.parametrize("kind", ["clip", "resnet", "eva"])
def test_bfloat16_is_close_to_float32(kind: str, named: Callable[[str], str]) -> None:
    found = {}
    for precision in ("float32", "bfloat16"):
        encoder = loaded_encoder(choice(named(kind), precision))
        prepared = [encoder.prepared(image) for image in pictures(64)]
        batches = [prepared[start : start + 8] for start in range(0, 64, 8)]
        images = np.concatenate([as_array(encoder.image_vectors(batch)) for batch in batches])
        found[precision] = images, as_array(encoder.text_vectors(captions()))
    for exact, rough in zip(*found.values(), strict=True):
        assert np.quantile((exact * rough).sum(1), 0.001) >= 0.999
        assert np.abs(exact - rough).max() > 0 or (kind == "resnet" and exact.shape[0] == 64)


@pytest.mark.parametrize("precision", ["float32", "bfloat16"])
@pytest.mark.parametrize("kind", ["clip", "resnet", "eva"])
def test_what_stands_beside_a_picture_changes_no_bit_of_it(
    kind: str, precision: str, named: Callable[[str], str]
) -> None:
    encoder = loaded_encoder(choice(named(kind), precision))
    some, others = ([encoder.prepared(image) for image in pictures(16)][part] for part in (slice(8), slice(8, 16)))
    alone = as_array(encoder.image_vectors(some))
    assert np.array_equal(as_array(encoder.image_vectors(some[:4] + others[4:]))[:4], alone[:4])
    assert np.array_equal(as_array(encoder.image_vectors(others[:4] + some[4:]))[4:], alone[4:])
    turned = as_array(encoder.image_vectors(some[::-1]))[::-1]
    np.testing.assert_allclose(turned, alone, atol=2e-6 if precision == "float32" else 2e-2)


@needs_products
def test_packing_changes_the_last_digits_only(named: Callable[[str], str], monkeypatch: pytest.MonkeyPatch) -> None:
    for kind in ("clip", "eva", "siglip", "mobileclip"):
        if kind == "siglip":
            pytest.importorskip("transformers")
        found = []
        for packed in (True, False):
            monkeypatch.setattr("coreset.encoder.open_clip_model.packs", lambda packed=packed: packed)
            encoder = OpenClipEncoder(choice(named(kind), "bfloat16"))
            layers = {type(layer) for layer in encoder._model.modules()}
            assert (PackedLinear in layers) == packed
            assert (PackedPatches in layers) == packed, kind
            images = as_array(encoder.image_vectors([encoder.prepared(image) for image in pictures(8)]))
            found.append((images, as_array(encoder.text_vectors(captions(8)))))
        for one, other in zip(*found, strict=True):
            assert (one * other).sum(1).min() > 0.999, kind


@needs_products
def test_the_last_block_is_spared_what_nobody_reads(
    named: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    found = []
    for spared in (True, False):
        spare = read_first_token if spared else lambda _: None
        monkeypatch.setattr("coreset.encoder.open_clip_model.read_first_token", spare)
        encoder = OpenClipEncoder(choice(named("clip"), "bfloat16"))
        assert any(isinstance(layer, FirstTokenBlock) for layer in encoder._model.modules()) == spared
        found.append(as_array(encoder.image_vectors([encoder.prepared(image) for image in pictures(8)])))
    assert (found[0] * found[1]).sum(1).min() > 0.9999


@needs_products
@pytest.mark.parametrize("change", [{"pool_type": "avg"}, {"output_tokens": True}, {"attn_pool": torch.nn.Identity()}])
def test_a_tower_that_reads_more_tokens_keeps_its_last_block(
    change: dict[str, object], named: Callable[[str], str]
) -> None:
    visual = OpenClipEncoder(choice(named("clip"), "bfloat16"))._model.visual
    blocks = visual.transformer.resblocks
    blocks[-1] = blocks[-1].block
    for name, value in change.items():
        setattr(visual, name, value)
    read_first_token(visual)
    assert not isinstance(blocks[-1], FirstTokenBlock)


@needs_products
@pytest.mark.parametrize("kind", ["clip", "resnet", "eva"])
def test_as_many_threads_as_a_batch_has_calls_change_no_bit(kind: str, named: Callable[[str], str]) -> None:
    found = []
    for threads in (1, 2, 3, 4, 8):
        one = dataclasses.replace(choice(named(kind), "bfloat16"), batch_size=64, threads=threads)
        encoder = OpenClipEncoder(one)
        before = torch.get_num_threads()
        images = as_array(encoder.image_vectors([encoder.prepared(image) for image in pictures(41)]))
        found.append((images, as_array(encoder.text_vectors(captions()))))
        assert torch.get_num_threads() == before
        assert len(images) == 41
    for images, texts in found[1:4]:
        assert np.array_equal(images, found[0][0])
        assert np.array_equal(texts, found[0][1])
    for images, texts in found[4:]:
        assert (images * found[0][0]).sum(1).min() > 0.999
        assert (texts * found[0][1]).sum(1).min() > 0.999


@pytest.mark.parametrize("threads", [1, 2])
def test_memory_that_runs_out_in_a_call_is_said(
    threads: int, named: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    one = dataclasses.replace(choice(named("clip"), "bfloat16"), batch_size=64, threads=threads)
    encoder = OpenClipEncoder(one)

    def failing(*_: object) -> torch.Tensor:
        raise RuntimeError("DefaultCPUAllocator: can't allocate memory")

    monkeypatch.setattr(encoder._model, "encode_image", failing)
    before = torch.get_num_threads()
    with pytest.raises(ResourceError, match="smaller --batch-size"):
        as_array(encoder.image_vectors([encoder.prepared(image) for image in pictures(33)]))
    assert torch.get_num_threads() == before
