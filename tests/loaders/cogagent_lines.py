"""Reads JSON lines with CogAgent's DataManager: `cogagent_lines.py CHECKOUT FOLDER`, which it is started in."""

import json
import os
import sys
from functools import partial

from absent import stand_in
from datasets import Split

START = [0, 0]
"""The two tokens that GLM's tokenizer begins with, and `process_batch` cuts off."""


class Letters:
    """Stands for the tokenizer, which is the model's: letters, and the picture of a message."""

    def apply_chat_template(self, messages, tokenize, return_dict, padding):
        """One message as tokens."""
        (message,) = messages
        ids = START + list(message["content"].encode())
        found = {"input_ids": [ids], "attention_mask": [[1] * len(ids)]}
        return {**found, "images": [list(message["image"].size)]} if message.get("image") else found


def main(checkout, folder):
    sys.path.insert(0, f"{checkout}/finetune")
    stand_in("jieba", "ruamel", "nltk", "rouge_chinese", "typer", "peft")
    from finetune import DataConfig, DataManager, process_batch

    os.chdir(folder)
    manager = DataManager(folder, DataConfig(train_file="train.jsonl"))
    given = {"tokenizer": Letters(), "max_input_length": 512, "max_output_length": 512, "combine": True}
    read = manager.get_dataset(Split.TRAIN, partial(process_batch, **given), batched=True)
    captions = [bytes(token for token in row["labels"] if token >= 0).decode() for row in read]
    print(
        json.dumps([{"caption": caption, "size": row["images"]} for caption, row in zip(captions, read, strict=True)])
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
