"""What bfloat16 changes: cosines to float32, and the rows of the demo whose fate is another.

``python benchmarks/precision.py [--model ViT-B-32] [--pictures 256]``

Cosines: of pictures and captions of the demo's shards, with random weights of ``--model``, and with the demo's model.
Fates: the demo's selection with float32 and with bfloat16, which leaves the demo's vision tower in float32 because it
is made of convolutions; and once with that tower in bfloat16 too, which coreset does not do, to see what it would cost.
"""

import argparse
import dataclasses
import logging
import tempfile
from unittest import mock

import numpy as np
import open_clip
import torch
from embed_vs_peers import pairs_of
from PIL import Image
from safetensors.torch import save_file

import coreset
from coreset.demo import FOLDER, RECIPE, demo_choice
from coreset.encoder import Choice, as_array, fit_of, loaded_encoder
from coreset.encoder import open_clip_model as towers
from coreset.sources.decoding import pixels_apart
from coreset.sources.pairs import Pair
from coreset.sources.pictures import BadPictureError

SHARES = (0.0, 0.001, 0.01, 0.5)


def vectors(choice: Choice, pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Image and text vectors."""
    encoder = loaded_encoder(choice)
    prepared = []
    for pair in pairs:
        try:
            prepared.append(encoder.prepared(Image.fromarray(pixels_apart(pair.image, fit=fit_of(encoder)))))
        except BadPictureError:
            continue
    starts = range(0, len(prepared), choice.batch_size)
    images = [as_array(encoder.image_vectors(prepared[start : start + choice.batch_size])) for start in starts]
    return np.concatenate(images), as_array(encoder.text_vectors([pair.caption or "" for pair in pairs]))


def show_cosines(name: str, choice: Choice, pairs: list[Pair], rough: str = "bfloat16") -> None:
    """A line of quantiles for pictures and for captions."""
    exact, other = (vectors(dataclasses.replace(choice, precision=kind), pairs) for kind in ("float32", rough))
    for what, one, two in zip(("pictures", "captions"), exact, other, strict=True):
        found = np.quantile((one * two).sum(1), SHARES)
        said = ", ".join(f"{cosine:.6f} at {share:.1%}" for share, cosine in zip(SHARES, found, strict=True))
        print(f"{name}, {len(one)} {what}: {said}", flush=True)
    moved = np.abs(exact[0] @ exact[0].T - other[0] @ other[0].T)
    shown = ", ".join(f"{np.quantile(moved, share):.6f} ({share:.1%})" for share in (0.5, 0.99, 1.0))
    print(f"{name}: the cosine of two pictures moves by at most {shown}", flush=True)


def fates(precision: str, folder: str) -> dict[str, str]:
    """The fate of each row of the demo."""
    recipe = coreset.read_recipe(RECIPE)
    recipe = dataclasses.replace(recipe, embed=dataclasses.replace(recipe.embed, precision=precision))
    coreset.selected(coreset.Run(folder), recipe)
    table = coreset.rows_with_fate(folder)
    return dict(zip(table["key"].to_pylist(), table["fate"].to_pylist(), strict=True))


def show_fates(name: str, exact: dict[str, str], rough: dict[str, str]) -> None:
    """How many rows have another fate, and how many of the coreset are others."""
    changed = [key for key in exact if exact[key] != rough[key]]
    kept = sum(exact[key] == "kept" for key in changed)
    duplicates = sum((exact[key] == "duplicate") != (rough[key] == "duplicate") for key in exact)
    print(
        f"{name}: {len(changed)} of {len(exact):,} rows have another fate; "
        f"of these {duplicates} at the threshold of dedup, and {kept} of the coreset's rows are others",
        flush=True,
    )


def main() -> None:
    """Prints everything."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--model", default="ViT-B-32")
    flags.add_argument("--pictures", type=int, default=256)
    flags.add_argument("--threads", type=int, default=2)
    given = flags.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        torch.manual_seed(0)
        weights = f"{place}/weights.safetensors"
        save_file(open_clip.create_model(given.model, load_weights=False).state_dict(), weights)
        choice = Choice(given.model, weights, False, "cpu", "float32", 64, given.threads)
        show_cosines(given.model, choice, list(pairs_of([f"{FOLDER}/shards/*/*.tar"], given.pictures)))
        every = list(pairs_of([f"{FOLDER}/shards/*/*.tar"], 1 << 20))
        demo = dataclasses.replace(demo_choice(), batch_size=64, threads=given.threads)
        show_cosines("the demo's model", demo, every)
        exact = fates("float32", f"{place}/float32")
        show_fates("the demo in bfloat16", exact, fates("bfloat16", f"{place}/bfloat16"))
        from coreset.encoder.loading import _loaded

        _loaded.cache_clear()
        with mock.patch.object(towers, "is_convolutional", return_value=False):
            show_cosines("the demo's model, convolutions too", demo, every)
            show_fates("the demo in bfloat16, convolutions too", exact, fates("bfloat16", f"{place}/all"))


if __name__ == "__main__":
    main()
