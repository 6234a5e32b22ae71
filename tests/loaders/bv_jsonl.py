"""Reads JSON lines with big_vision's `bv:jsonl`: `bv_jsonl.py CHECKOUT LINES IMAGES`."""

import json
import sys


def main(checkout, lines, images):
    sys.path.insert(0, checkout)
    import tensorflow as tf
    from big_vision.datasets.jsonl import DataSource

    source = DataSource(lines, fopen_keys={"image": images})
    found = []
    for row in source.get_tfdata(ordered=True):
        image = tf.io.decode_image(row["image"], channels=3, expand_animations=False)
        said = {name: row[name].numpy().decode() for name in ("prefix", "suffix")}
        found.append({**said, "shape": image.shape.as_list()})
    assert len(found) == source.total_examples
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
