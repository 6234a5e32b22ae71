"""Captions for loaders that read a model's own markers out of text."""

from __future__ import annotations

import re

MARKERS = {
    "<image>": "LLaVA, Bunny, MGM, TinyLLaVA, XTuner: stands for the picture; a second one asks for a second picture",
    "<image-placeholder>": "LLaVA: becomes <image>",
    "<video>": "LLaVA-NeXT, XTuner: stands for frames",
    "<im_start>": "LLaVA: begins a picture's patches",
    "<im_end>": "LLaVA: ends them",
    "<im_patch>": "LLaVA: one of them",
    "<ImageHere>": "MiniGPT-4: where the picture is put in",
    "<Img>": "MiniGPT-4: begins a picture",
    "</Img>": "MiniGPT-4: ends it",
    "<s>": "tokenizers of Llama's kind: begins a text",
    "</s>": "tokenizers of Llama's kind: ends a text, and training on it",
    "<unk>": "tokenizers of Llama's kind: an unknown word",
    "<pad>": "tokenizers of Gemma and others: padding, which is masked",
    "<bos>": "Gemma: begins a text",
    "<eos>": "Gemma: ends a text",
    "<start_of_turn>": "Gemma: begins a turn",
    "<end_of_turn>": "Gemma: ends a turn",
    "<|endoftext|>": "GPT, Phi, Qwen: ends a text",
    "<|im_start|>": "ChatML (Qwen, Yi): begins a turn",
    "<|im_end|>": "ChatML (Qwen, Yi): ends a turn",
    "<|begin_of_text|>": "Llama 3: begins a text",
    "<|end_of_text|>": "Llama 3: ends a text",
    "<|start_header_id|>": "Llama 3: begins the name of a speaker",
    "<|end_header_id|>": "Llama 3: ends it",
    "<|eot_id|>": "Llama 3: ends a turn",
    "<|end|>": "Phi-3: ends a turn",
    "<|user|>": "Phi-3: begins a turn",
    "<|assistant|>": "Phi-3: begins a turn",
}
"""What must not stand in a caption, and who reads it as something else than text."""

_MARKER = re.compile("|".join(re.escape(marker) for marker in MARKERS))


def neutralised(caption: str) -> tuple[str, int]:
    """A caption whose markers have a space behind `<` and before `>`, and how many there were; else as it stands.

    Example:
        >>> neutralised("a <image> of </s>")
        ('a < image > of < /s >', 2)
        >>> neutralised("a < b, <3")
        ('a < b, <3', 0)
    """
    return _MARKER.subn(lambda found: f"< {found[0][1:-1]} >", caption)


def is_empty(caption: str | None) -> bool:
    r"""Whether there is nothing to train on.

    Example:
        >>> is_empty(None), is_empty(" \n"), is_empty("a")
        (True, True, False)
    """
    return not (caption or "").strip()
