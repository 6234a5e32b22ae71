"""Reads a LLaVA list with XTuner's LLaVADataset: `xtuner_list.py CHECKOUT LIST IMAGES`.

As its configuration for LLaVA 1.5 does: `llava_map_fn`, and a template of Vicuna's.
"""

import json
import sys

from absent import bare_package, stand_in
from letters import letters
from transformers import CLIPImageProcessor


def main(checkout, location, images):
    sys.path.insert(0, checkout)
    stand_in("deepspeed")
    bare_package("xtuner.dataset", f"{checkout}/xtuner/dataset")  # its own __init__ imports every other dataset
    from xtuner.dataset.llava import LLaVADataset
    from xtuner.dataset.map_fns import llava_map_fn, template_map_fn_factory
    from xtuner.utils import IMAGE_TOKEN_INDEX, PROMPT_TEMPLATE

    tokenizer = letters()
    dataset = LLaVADataset(
        image_folder=images,
        image_processor=CLIPImageProcessor(),
        data_path=location,
        tokenizer=tokenizer,
        dataset_map_fn=llava_map_fn,
        template_map_fn=template_map_fn_factory(template=PROMPT_TEMPLATE.vicuna),
    )
    assert all(length > 0 for length in dataset.modality_length)
    found = []
    for number in range(len(dataset)):
        pair = dataset[number]
        told = [token for token in pair["labels"] if token >= 0]
        entry = {"id": pair["id"], "pictures": pair["input_ids"].count(IMAGE_TOKEN_INDEX)}
        text = tokenizer.decode(told).removesuffix("</s>")
        found.append({**entry, "text": text, "shape": list(pair["pixel_values"].shape)})
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
