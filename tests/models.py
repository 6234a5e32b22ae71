"""Small models with random weights, of the architectures that open_clip has, saved as `local-dir:` takes them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import open_clip
import pytest
import torch
from safetensors.torch import save_file

from coreset.encoder.packed import packs

needs_products = pytest.mark.skipif(not packs(), reason="this processor or torch has no packed products")

VOCABULARY = 49408
"""Of the tokenizer that comes with open_clip."""
WORDS = ("a", "red", "blue", "heart", "cat", "with", "many", "dots", "and", "ribbon")
UNKNOWN = "<unk>"

TEXT: dict[str, Any] = {"context_length": 48, "vocab_size": VOCABULARY, "width": 32, "heads": 2, "layers": 2}
VISION: dict[str, Any] = {"image_size": 32, "layers": 2, "width": 64, "head_width": 32, "patch_size": 8}
SIGLIP_TEXT = {
    **TEXT,
    "context_length": 16,
    "vocab_size": 64,
    "hf_tokenizer_name": "words",
    "tokenizer_kwargs": {"clean": "canonicalize"},
    "no_causal_mask": True,
    "proj_bias": True,
    "pool_type": "last",
}
ARCHITECTURES: dict[str, dict[str, Any]] = {
    "clip": {"vision_cfg": VISION, "text_cfg": TEXT},
    "resnet": {
        "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 16, "head_width": 64},
        "text_cfg": TEXT,
    },
    "eva": {
        "custom_text": True,
        "vision_cfg": {
            "timm_model_name": "eva02_tiny_patch14_224",
            "timm_pool": "token",
            "timm_proj": None,
            "image_size": 224,
        },
        "text_cfg": TEXT,
        "embed_dim": 192,
    },
    "siglip": {
        "custom_text": True,
        "init_logit_bias": -10,
        "vision_cfg": {"timm_model_name": "vit_tiny_patch16_224", "timm_pool": "avg", "image_size": 224},
        "text_cfg": SIGLIP_TEXT,
    },
    "mobileclip": {"custom_text": True, "vision_cfg": VISION, "text_cfg": {**TEXT, "no_causal_mask": True}},
    "eos": {"custom_text": True, "vision_cfg": VISION, "text_cfg": {**TEXT, "pool_type": "eos", "eos_id": 49407}},
}
SIGLIP_WAYS = {"mean": [0.5] * 3, "std": [0.5] * 3, "interpolation": "bicubic", "resize_mode": "squash"}


def write_model(folder: Path, kind: str) -> str:
    """A model of an architecture; returns its name for `--model`."""
    config = {"embed_dim": 24, **ARCHITECTURES[kind]}
    folder.mkdir(parents=True)
    said = {"model_cfg": config, "preprocess_cfg": SIGLIP_WAYS if kind == "siglip" else {}}
    (folder / "open_clip_config.json").write_text(json.dumps(said))
    if kind == "siglip":
        write_tokenizer(folder)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.create_model(f"local-dir:{folder}", load_weights=False, pretrained_text=False)
    save_file({key: value.contiguous() for key, value in model.state_dict().items()}, folder / "model.safetensors")
    return f"local-dir:{folder}"


def write_tokenizer(folder: Path) -> None:
    """A tokenizer of ten words, in the files of Hugging Face's."""
    from tokenizers import Tokenizer
    from tokenizers.models import WordLevel
    from tokenizers.pre_tokenizers import Whitespace

    numbers = {"<pad>": 0, "<eos>": 1, UNKNOWN: 2, **{word: 3 + place for place, word in enumerate(WORDS)}}
    tokenizer = Tokenizer(WordLevel(numbers, unk_token=UNKNOWN))
    tokenizer.pre_tokenizer = Whitespace()
    tokenizer.save(str(folder / "tokenizer.json"))
    said = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "pad_token": "<pad>",
        "eos_token": "<eos>",
        "unk_token": UNKNOWN,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(said))
