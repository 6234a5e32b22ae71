"""Reads a LLaVA list with the dataset class of a checkout: `llava_list.py NAME CHECKOUT LIST IMAGES`.

NAME is bunny, llava, llava_next or mgm. Prints what the model would be given of each pair. Runs in an environment of
the checkout's own; imports nothing of coreset.
"""

import contextlib
import importlib
import io
import json
import sys
from types import SimpleNamespace

from absent import stand_in
from letters import letters
from transformers import CLIPImageProcessor

MODULES = {
    "bunny": "bunny.util.data_utils",
    "llava": "llava.train.train",
    "llava_next": "llava.train.train",
    "mgm": "mgm.train.train",
}
SUBSTITUTED = ("Error in loading", "Failed to fetch")
"""What MGM and NEXT print where a pair cannot be read and another one is given in its place."""


def main(name, checkout, location, images):
    sys.path.insert(0, checkout)
    stand_in("deepspeed", "tyro", "decord", "av")
    quiet = io.StringIO()
    with contextlib.redirect_stdout(quiet):  # NEXT names the models that it cannot import
        module = importlib.import_module(MODULES[name])
    package = MODULES[name].partition(".")[0]
    conversation = importlib.import_module(f"{package}.conversation")
    conversation.default_conversation = conversation.conv_templates["plain"]
    picture = importlib.import_module(f"{package}.constants").IMAGE_TOKEN_INDEX
    arguments = SimpleNamespace(
        image_folder=images,
        image_processor=CLIPImageProcessor(),
        image_aspect_ratio="pad",
        is_multimodal=True,
        mm_use_im_start_end=False,
        early_mix_text=False,  # NEXT
        image_grid=1,  # MGM
    )
    tokenizer = letters()
    given = {"data_path": location, "tokenizer": tokenizer, "data_args": arguments}
    said = io.StringIO()
    with contextlib.redirect_stdout(said):
        dataset = module.LazySupervisedDataset(**given)
        pairs = [dataset[number] for number in range(len(dataset))]
        assert all(length > 0 for length in dataset.modality_lengths)
        batch = module.DataCollatorForSupervisedDataset(tokenizer=tokenizer)(pairs[:2])
    assert not any(words in said.getvalue() for words in SUBSTITUTED), said.getvalue()
    assert len(batch["images"]) == 2
    print(json.dumps([entry_of(pair, tokenizer, picture) for pair in pairs]))


def entry_of(pair, tokenizer, picture):
    ids = pair["input_ids"].tolist()
    told = [token for token in pair["labels"].tolist() if token >= 0]
    image = pair["image"][0][0] if isinstance(pair["image"], list) else pair["image"]  # NEXT has several of each pair
    return {
        "pictures": ids.count(picture),
        "first": ids.index(picture),
        "text": tokenizer.decode(told),
        "shape": list(image.shape),
    }


if __name__ == "__main__":
    main(*sys.argv[1:])
