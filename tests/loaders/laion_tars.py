"""Reads tars with MiniGPT-4's LaionDataset: `laion_tars.py CHECKOUT COUNT TARS`; TinyGPT-V's is the same file.

Prints the captions of the first COUNT pairs: that loader is endless, and draws with replacement.
"""

import itertools
import json
import sys
import types


def main(checkout, count, tars):
    sys.path.insert(0, checkout)
    parent = types.ModuleType("minigpt4")  # its own __init__ imports every model
    parent.__path__ = [f"{checkout}/minigpt4"]
    sys.modules["minigpt4"] = parent
    datasets = types.ModuleType("minigpt4.datasets")
    datasets.__path__ = [f"{checkout}/minigpt4/datasets"]
    sys.modules["minigpt4.datasets"] = datasets
    from minigpt4.datasets.datasets.laion_dataset import LaionDataset

    dataset = LaionDataset(lambda image: image, lambda text: text, location=tars).inner_dataset
    pairs = itertools.islice(iter(dataset), int(count))
    print(json.dumps([{"caption": pair["answer"], "size": list(pair["image"].size)} for pair in pairs]))


if __name__ == "__main__":
    main(*sys.argv[1:])
