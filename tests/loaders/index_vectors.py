"""Builds an index of exported vectors with autofaiss and looks each of them up: `index_vectors.py FOLDER`."""

import json
import os
import sys

import numpy as np
from autofaiss import build_index


def main(folder):
    index, _ = build_index(embeddings=folder, save_on_disk=False, metric_type="ip", max_index_memory_usage="1GB")
    files = sorted(f"{folder}/{name}" for name in os.listdir(folder))
    vectors = np.concatenate([np.load(file) for file in files]).astype(np.float32)
    scores, found = index.search(vectors, 1)
    print(json.dumps({"rows": index.ntotal, "nearest": found[:, 0].tolist(), "scores": scores[:, 0].tolist()}))


if __name__ == "__main__":
    main(sys.argv[1])
