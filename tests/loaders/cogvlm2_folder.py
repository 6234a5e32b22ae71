"""Reads a folder with CogVLM2's ConversationDataset: `cogvlm2_folder.py CHECKOUT FOLDER`."""

import json
import sys
from types import SimpleNamespace

import torch
from absent import stand_in

asked = []


def build_conversation_input_ids(tokenizer, query, history, images, answer):
    """What the model's own code would make of a pair: here, only as long as the text."""
    asked.append({"question": query, "caption": answer, "size": list(images[0].size), "history": history})
    ids = torch.tensor(list(answer.encode()))
    tokens = dict.fromkeys(("input_ids", "attention_mask", "token_type_ids", "labels"), ids)
    return {**tokens, "images": [torch.zeros(3, *images[0].size)]}


def main(checkout, folder):
    sys.path.insert(0, f"{checkout}/finetune_demo")
    stand_in("peft", "tensorboard", "psutil", "accelerate")
    from peft_lora import ConversationDataset

    model = SimpleNamespace(build_conversation_input_ids=build_conversation_input_ids)
    dataset = ConversationDataset(folder, tokenizer=None, model=model, torch_type=torch.float32, device="cpu")
    batch = ConversationDataset.custom_collate_fn([dataset[number] for number in range(len(dataset))])
    assert len(batch["images"]) == len(batch["input_ids"]) == len(dataset)
    names = [name.removesuffix(".jpg") for name in dataset.filenames]
    print(json.dumps([{"name": name, **entry} for name, entry in zip(names, asked, strict=True)]))


if __name__ == "__main__":
    main(*sys.argv[1:])
