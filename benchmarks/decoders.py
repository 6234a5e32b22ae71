"""Decoders of JPEGs: milliseconds of one core for a picture of 224 x 224, and how near the vectors are to Pillow's.

``python benchmarks/decoders.py [--pictures 24] [--sides 256 512 1024 2048]``

The demo's pictures, enlarged to each longer side and saved as JPEGs of quality 90, are decoded and brought to size by
Pillow, as `coreset embed` does it; by Pillow with ``--decoder draft``; by torchvision's and simplejpeg's decoders with
Pillow's resizing. Cosines are of the demo's model, to Pillow's.
"""

import argparse
import statistics
import time
from collections.abc import Callable
from importlib import import_module

import numpy as np
import torch
from embed_vs_peers import enlarged, pairs_of
from PIL import Image

from coreset.demo import FOLDER, demo_choice
from coreset.encoder import as_array, loaded_encoder
from coreset.sources.fitting import Fit, fitted
from coreset.sources.pictures import decoded

FIT = Fit(224, 224)


def torchvision_decoded(content: bytes) -> Image.Image:
    """By torchvision."""
    pixels = import_module("torchvision.io").decode_jpeg(torch.frombuffer(bytearray(content), dtype=torch.uint8))
    return fitted(Image.fromarray(pixels.permute(1, 2, 0).contiguous().numpy()), FIT)


def simplejpeg_decoded(content: bytes) -> Image.Image:
    """By simplejpeg."""
    return fitted(Image.fromarray(import_module("simplejpeg").decode_jpeg(content)), FIT)


METHODS: dict[str, Callable[[bytes], Image.Image]] = {
    "pillow": lambda content: decoded(content, fit=FIT),
    "pillow, draft": lambda content: decoded(content, fit=FIT, draft=True),
    "torchvision": torchvision_decoded,
    "simplejpeg": simplejpeg_decoded,
}


def milliseconds(method: Callable[[bytes], Image.Image], content: bytes) -> float:
    """Of processor time, the best of three."""
    times = []
    for _ in range(3):
        begun = time.process_time()
        method(content)
        times.append(time.process_time() - begun)
    return 1000 * min(times)


def main() -> None:
    """Prints a line for each size and decoder."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--pictures", type=int, default=24)
    flags.add_argument("--sides", type=int, nargs="+", default=[256, 512, 1024, 2048])
    given = flags.parse_args()
    torch.set_num_threads(1)
    encoder = loaded_encoder(demo_choice())
    pictures = [pair.image for pair in pairs_of([f"{FOLDER}/shards/*/*.tar"], given.pictures)]
    for side in given.sides:
        contents = [enlarged(picture, side) for picture in pictures]
        exact: np.ndarray | None = None
        for name, method in METHODS.items():
            try:
                prepared = [encoder.prepared(method(content)) for content in contents]
            except ImportError as error:
                print(f"{side:5} {name:14} not installed: {error}")
                continue
            starts = range(0, len(prepared), 8)
            vectors = np.concatenate([as_array(encoder.image_vectors(prepared[at : at + 8])) for at in starts])
            exact = vectors if exact is None else exact
            spent = statistics.median(milliseconds(method, content) for content in contents)
            print(f"{side:5} {name:14} {spent:6.2f} ms, lowest cosine {(vectors * exact).sum(1).min():.5f}", flush=True)


if __name__ == "__main__":
    main()
