"""What a row's place in its batch, and what else stands there, changes in its vector: bytes, not nearness.

``python benchmarks/places.py [--models ViT-B-32 demo] [--batches 64] [--orders 2]``

Batches of noise pictures and of captions of the demo's, with random weights of each model. First all rows but one half
are replaced by others, and the half that stayed is compared; then the rows are put into another order, and each is
compared with itself. Reported are the rows whose float32 vectors changed in any bit, those whose float16 vectors did,
and the largest change of a number.
"""

import argparse
import dataclasses
import logging
import tempfile

import numpy as np
import torch
from embed_vs_peers import pairs_of, save_weights

from coreset.demo import FOLDER, demo_choice
from coreset.encoder import Choice, Encoder, as_array, loaded_encoder


def changed(before: np.ndarray, after: np.ndarray) -> tuple[int, int, float]:
    """Rows that changed, rows that changed as they are stored, and the largest change."""
    stored = [vectors.astype(np.float16) for vectors in (before, after)]
    return (
        int((before != after).any(axis=1).sum()),
        int((stored[0] != stored[1]).any(axis=1).sum()),
        float(np.abs(before - after).max()),
    )


def pictures(encoder: Encoder, batch: int, seed: int) -> list[torch.Tensor]:
    """Noise of the size that the model reads."""
    fit = encoder.fit  # type: ignore[attr-defined]
    generator = torch.Generator().manual_seed(seed)
    return list(torch.randint(0, 256, (batch, fit.height, fit.width, 3), dtype=torch.uint8, generator=generator))


def show(name: str, encoder: Encoder, batch: int, orders: int) -> None:
    """A line for pictures beside others, pictures at other places, and captions in another order."""
    one, other = (pictures(encoder, batch, seed) for seed in (0, 1))
    vectors = as_array(encoder.image_vectors(one))
    half = batch // 2
    beside = as_array(encoder.image_vectors(one[:half] + other[half:]))[:half]
    lines = {"pictures beside others": [changed(vectors[:half], beside)]}
    captions = [pair.caption or "" for pair in pairs_of([f"{FOLDER}/shards/*/*.tar"], 4 * batch)]
    texts = as_array(encoder.text_vectors(captions))
    for seed in range(orders):
        draw = np.random.default_rng(seed)
        order = draw.permutation(batch)
        moved = as_array(encoder.image_vectors([one[place] for place in order]))
        lines.setdefault("pictures at other places", []).append(changed(vectors[order], moved))
        order = draw.permutation(len(captions))
        moved = as_array(encoder.text_vectors([captions[place] for place in order]))
        lines.setdefault("captions in another order", []).append(changed(texts[order], moved))
    for what, found in lines.items():
        rows, stored = (max(each[place] for each in found) for place in (0, 1))
        largest = max(each[2] for each in found)
        print(f"{name}, batch {batch}, {what}: {rows} rows changed, {stored} as stored, by {largest:.1g}", flush=True)


def main() -> None:
    """Prints everything."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--models", nargs="+", default=["ViT-B-32", "demo"])
    flags.add_argument("--batches", type=int, nargs="+", default=[64])
    flags.add_argument("--precisions", nargs="+", default=["float32", "bfloat16"])
    flags.add_argument("--orders", type=int, default=2)
    flags.add_argument("--threads", type=int, default=2)
    given = flags.parse_args()
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as place:
        for model in given.models:
            weights = f"{place}/{model}.pt"
            if model != "demo":
                save_weights(model, weights)
            for precision in given.precisions:
                for batch in given.batches:
                    choice = Choice(model, weights, False, "cpu", precision, batch, given.threads)
                    if model == "demo":
                        choice = dataclasses.replace(
                            demo_choice(), precision=precision, batch_size=batch, threads=given.threads
                        )
                    show(f"{model} in {precision}", loaded_encoder(choice), batch, given.orders)


if __name__ == "__main__":
    main()
