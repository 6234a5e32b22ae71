"""Reads filter_cap.json with MiniGPT-4's CCSBUAlignDataset: `align_folder.py CHECKOUT FOLDER`."""

import json
import sys
import types


def main(checkout, folder):
    sys.path.insert(0, checkout)
    for name in ("minigpt4", "minigpt4.datasets"):
        module = types.ModuleType(name)  # their own __init__ imports every model
        module.__path__ = [f"{checkout}/{name.replace('.', '/')}"]
        sys.modules[name] = module
    from minigpt4.datasets.datasets.cc_sbu_dataset import CCSBUAlignDataset

    given = {"ann_paths": [f"{folder}/filter_cap.json"], "vis_root": f"{folder}/image"}
    dataset = CCSBUAlignDataset(vis_processor=lambda image: image, text_processor=lambda text: text, **given)
    pairs = [dataset[number] for number in range(len(dataset))]
    print(json.dumps([{"caption": pair["answer"], "size": list(pair["image"].size)} for pair in pairs]))


if __name__ == "__main__":
    main(*sys.argv[1:])
