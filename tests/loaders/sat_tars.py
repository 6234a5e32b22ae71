"""Reads tars with SimpleDistributedWebDataset of SwissArmyTransformer: `sat_tars.py CHECKOUT COUNT TARS`.

That is the library of CogVLM's pre-training. What becomes of a sample is the user's: here, its caption and its
picture. Prints the first COUNT pairs: the library draws tars with replacement, and never ends.
"""

import io
import itertools
import json
import sys

from absent import bare_package, stand_in
from PIL import Image


def pairs_of(samples):
    for sample in samples:
        said = json.loads(sample["json"])
        assert sample["txt"].decode() == said["caption"]
        yield {"caption": said["caption"], "size": list(Image.open(io.BytesIO(sample["jpg"])).size)}


def main(checkout, count, tars):
    sys.path.insert(0, checkout)
    stand_in("deepspeed", "boto3")
    bare_package("sat", f"{checkout}/sat")  # their own __init__ imports every model
    bare_package("sat.data_utils", f"{checkout}/sat/data_utils")
    from sat.data_utils.webds import SimpleDistributedWebDataset

    dataset = SimpleDistributedWebDataset(tars, pairs_of, 0, shuffle_buffer=8)
    print(json.dumps(list(itertools.islice(dataset, int(count)))))


if __name__ == "__main__":
    main(*sys.argv[1:])
