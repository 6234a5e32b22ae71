"""Reads a LLaVA list with the dataset class of a checkout: `llava_list.py bunny|llava CHECKOUT LIST IMAGES`.

Prints what the model would be given of each pair. Runs in an environment of the checkout's own; imports nothing of
coreset.
"""

import importlib
import json
import sys
from types import SimpleNamespace

from tokenizers import Tokenizer, decoders, models, pre_tokenizers
from transformers import CLIPImageProcessor, PreTrainedTokenizerFast

MODULES = {"bunny": "bunny.util.data_utils", "llava": "llava.train.train"}


def letters():
    """A tokenizer of bytes, which loses nothing."""
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    bytewise = Tokenizer(models.BPE(vocab={letter: number for number, letter in enumerate(alphabet)}, merges=[]))
    bytewise.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    bytewise.decoder = decoders.ByteLevel()
    special = {"bos_token": "<s>", "eos_token": "</s>", "pad_token": "<pad>", "unk_token": "<unk>"}
    return PreTrainedTokenizerFast(tokenizer_object=bytewise, model_max_length=2048, **special)


def main(name, checkout, location, images):
    sys.path.insert(0, checkout)
    module = importlib.import_module(MODULES[name])
    conversation = importlib.import_module(f"{name}.conversation")
    conversation.default_conversation = conversation.conv_templates["plain"]
    picture = importlib.import_module(f"{name}.constants").IMAGE_TOKEN_INDEX
    arguments = SimpleNamespace(
        image_folder=images,
        image_processor=CLIPImageProcessor(),
        image_aspect_ratio="pad",
        is_multimodal=True,
        mm_use_im_start_end=False,
    )
    tokenizer = letters()
    given = {"data_path": location, "tokenizer": tokenizer, "data_args": arguments}
    dataset = module.LazySupervisedDataset(**given)
    assert all(length > 0 for length in dataset.modality_lengths)
    found = []
    for number in range(len(dataset)):
        pair = dataset[number]
        ids = pair["input_ids"].tolist()
        told = [token for token in pair["labels"].tolist() if token >= 0]
        entry = {"pictures": ids.count(picture), "first": ids.index(picture), "text": tokenizer.decode(told)}
        found.append({**entry, "shape": list(pair["image"].shape)})
    batch = module.DataCollatorForSupervisedDataset(tokenizer=tokenizer)([dataset[0], dataset[1]])
    assert len(batch["images"]) == 2
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
