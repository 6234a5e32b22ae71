"""Reads a folder of pictures with CogVLM's ItemDataset: `cogvlm_items.py CHECKOUT FOLDER`.

It takes the text from the file's name: prints that text, and the size of the picture.
"""

import importlib.util
import json
import sys

from absent import stand_in


def main(checkout, folder):
    stand_in("sat", "jsonlines")
    spec = importlib.util.spec_from_file_location("dataset", f"{checkout}/utils/utils/dataset.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.print_rank0 = lambda *said, **level: None
    dataset = module.ItemDataset(lambda image: list(image.size), lambda text, prompt: {"text": text}, None, folder)
    items = [dataset[number] for number in range(len(dataset))]
    print(json.dumps([{"text": item["text"], "size": item["vision"]} for item in items]))


if __name__ == "__main__":
    main(*sys.argv[1:])
