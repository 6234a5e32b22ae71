"""Records as LLaVA's loaders read them, and mixtures of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any


def record(name: str | int, images: int = 1, turns: int = 1) -> dict[str, Any]:
    """A record with so many images and pairs of turns."""
    begin = "<image>\n" * images
    said = [
        turn
        for number in range(turns)
        for turn in (
            {"from": "human", "value": f"{begin if not number else ''}What is {name}, {number}?"},
            {"from": "gpt", "value": f"It is {name} é."},
        )
    ]
    pictures = [f"{name}-{number}.jpg" for number in range(images)]
    image = {"image": pictures[0] if images == 1 else pictures} if images else {}
    return {"id": name, **image, "conversations": said}


def write_json(path: Path, values: Sequence[Any], indent: int | None = None) -> Path:
    """A JSON list."""
    path.write_text(json.dumps(values, ensure_ascii=False, indent=indent))
    return path


def instruction(number: int) -> dict[str, str]:
    """A record as WizardLM's file has it."""
    return {"output": f"done {number}", "instruction": f"do {number}"}
