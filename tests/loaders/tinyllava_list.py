"""Reads a LLaVA list with TinyLLaVA's LazySupervisedDataset: `tinyllava_list.py CHECKOUT LIST IMAGES`."""

import importlib
import json
import sys
from types import SimpleNamespace

from absent import bare_package, stand_in
from letters import letters
from transformers import CLIPImageProcessor


def make_hashable(checkout):
    """Let its templates have defaults that Python 3.11 and later refuse in a dataclass: it was written for 3.10."""
    packages = ("tinyllava.data", "tinyllava.data.template")
    for name in packages:
        bare_package(name, f"{checkout}/{name.replace('.', '/')}")
    formatter = importlib.import_module("tinyllava.data.template.formatter")
    for kind in (formatter.EmptyFormatter, formatter.StringFormatter):
        kind.__hash__ = object.__hash__
    for name in packages:
        del sys.modules[name]


def main(checkout, location, images):
    sys.path.insert(0, checkout)
    stand_in("deepspeed", "peft")
    make_hashable(checkout)
    from tinyllava.data.dataset import DataCollatorForSupervisedDataset, LazySupervisedDataset
    from tinyllava.utils.constants import IMAGE_TOKEN_INDEX

    arguments = SimpleNamespace(
        image_folder=images,
        image_processor=CLIPImageProcessor(),
        image_aspect_ratio="square",
        is_multimodal=True,
        conv_version="pretrain",
    )
    tokenizer = letters()
    dataset = LazySupervisedDataset(data_path=location, tokenizer=tokenizer, data_args=arguments)
    assert all(length > 0 for length in dataset.modality_lengths)
    found = []
    for number in range(len(dataset)):
        pair = dataset[number]
        ids = pair["input_ids"].tolist()
        told = [token for token in pair["labels"].tolist() if token >= 0]
        entry = {"pictures": ids.count(IMAGE_TOKEN_INDEX), "first": ids.index(IMAGE_TOKEN_INDEX)}
        found.append({**entry, "text": tokenizer.decode(told), "shape": list(pair["image"].shape)})
    batch = DataCollatorForSupervisedDataset(tokenizer=tokenizer)([dataset[0], dataset[1]])
    assert len(batch["images"]) == 2
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
