"""Whether a record is one that the published loaders read: each turn, their order, the images they speak of."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from coreset.mixture.records import Number

IMAGE = "<image>"
"""Stands in a turn where a loader puts an image."""
SPEAKERS = ("human", "gpt")

REASONS = {
    "no_object": "a value of the list that is no JSON object",
    "no_id": "no `id`, or one that is neither text nor a whole number",
    "no_conversations": "no `conversations`, or none in them; of `instructions`, no `instruction`",
    "bad_turn": "a turn without `from` and `value` as texts; of `instructions`, an `input` or `output` that is no text",
    "not_alternating": "turns that are not human, gpt, human, gpt, ... to the end",
    "empty_turn": "a turn that says nothing; a human's `<image>` alone is enough",
    "bad_image": "an `image` that is neither a name nor a list of names",
    "image_count": "another number of `<image>` in the turns than of images: a loader would put in what is not there",
}
"""Why a record is refused, with what it stands for."""

Wrong = tuple[str, str]
"""A reason and what was found."""


def id_of(record: object) -> str | Wrong:
    """A record's id as text, or why it has none.

    Example:
        >>> id_of({"id": "a"}), id_of([])
        ('a', ('no_object', 'a list'))
    """
    if not isinstance(record, dict):
        return "no_object", f"a {type(record).__name__}"
    found = record.get("id")
    if isinstance(found, Number) and not found.lstrip("-").isdecimal():
        return "no_id", shown(found)
    return str(found) if isinstance(found, str) and found else ("no_id", shown(found))


def wrong_with(record: Mapping[str, Any]) -> Wrong | None:
    r"""The first thing that is wrong with a record that has an id; None if loaders can read it.

    Example:
        >>> turns = [{"from": "human", "value": "<image>\nWhat?"}, {"from": "gpt", "value": "A cat."}]
        >>> wrong_with({"id": "1", "image": "1.jpg", "conversations": turns})
        >>> wrong_with({"id": "1", "conversations": turns})
        ('image_count', '1 <image> in the turns, 0 images')
    """
    turns = record.get("conversations")
    if not isinstance(turns, list) or not turns:
        return "no_conversations", shown(turns)
    for number, turn in enumerate(turns):
        if not isinstance(turn, dict) or not is_text(turn.get("from")) or not is_text(turn.get("value")):
            return "bad_turn", f"turn {number}: {shown(turn)}"
    speakers = [turn["from"] for turn in turns]
    if len(turns) % 2 or speakers != list(SPEAKERS) * (len(turns) // 2):
        return "not_alternating", ", ".join(speakers[:6])[:200]
    for number, turn in enumerate(turns):
        if not turn["value"].strip():
            return "empty_turn", f"turn {number}"
    return wrong_images(record, sum(turn["value"].count(IMAGE) for turn in turns))


def wrong_images(record: Mapping[str, Any], spoken_of: int) -> Wrong | None:
    """What is wrong with a record's images, of which its turns speak so often."""
    images = record.get("image", [])
    names = [images] if is_text(images) else images
    if not isinstance(names, list) or not all(is_text(name) and name for name in names):
        return "bad_image", shown(images)
    if spoken_of != len(names):
        return "image_count", f"{spoken_of} {IMAGE} in the turns, {len(names)} images"
    return None


def is_text(value: object) -> bool:
    """Whether a value is JSON text."""
    return isinstance(value, str) and not isinstance(value, Number)


def conversation(record: object, name: str) -> dict[str, Any] | Wrong:
    r"""An instruction with its answer as a conversation of two turns, or why it cannot be one.

    Args:
        record: with `instruction`, `output` and perhaps `input`, which follows the instruction on a line of its own
        name: the id that it gets

    Example:
        >>> conversation({"instruction": "Add.", "input": "1 2", "output": "3"}, "w_0")["conversations"]
        [{'from': 'human', 'value': 'Add.\n1 2'}, {'from': 'gpt', 'value': '3'}]
    """
    if not isinstance(record, dict):
        return "no_object", f"a {type(record).__name__}"
    asked, given, answer = (record.get(name) for name in ("instruction", "input", "output"))
    if not is_text(asked):
        return "no_conversations", f"instruction: {shown(asked)}"
    if not is_text(answer) or (given is not None and not is_text(given)):
        return "bad_turn", f"input: {shown(given)}, output: {shown(answer)}"
    turns = [f"{asked}\n{given}" if given else str(asked), str(answer)]
    return {
        "id": name,
        "conversations": [{"from": speaker, "value": value} for speaker, value in zip(SPEAKERS, turns, strict=True)],
    }


def shown(value: object) -> str:
    """A value for a message."""
    return json.dumps(value)[:200]
