"""Pictures with captions and a tiny CLIP, so that everything can be tried offline: see LICENSES.md."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coreset.encoder import Choice

FOLDER = os.path.dirname(os.path.abspath(__file__))
RECIPE = os.path.join(FOLDER, "demo.toml")
MODEL = "local-dir:" + os.path.join(FOLDER, "model")


def demo_choice() -> Choice:
    """The demo's model on one thread of the CPU, in float32."""
    from coreset.encoder import Choice

    return Choice(MODEL, None, quick_gelu=False, device="cpu", precision="float32", batch_size=8, threads=1)
