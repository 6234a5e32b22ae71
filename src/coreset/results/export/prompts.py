"""What is asked in front of a caption, where a format has a place for a question."""

from __future__ import annotations

from dataclasses import dataclass, field

import xxhash

from coreset.results.export.folders import check_text
from coreset.results.export.format import ExportParams

PROMPTS = (
    "Say in a few words what is in this picture.",
    "What can be seen here? Answer briefly.",
    "Write a short caption for this picture.",
    "Tell me in one sentence what this picture shows.",
    "Sum up this picture in a line of text.",
    "Which words would stand below this picture?",
)
"""Asked in turn, chosen by a hash of the key."""


@dataclass(frozen=True, kw_only=True)
class PromptParams(ExportParams):
    """The parameter of formats with a question."""

    prompt: str | None = field(
        default=None,
        metadata={"help": "the question before every caption; without it, one of a few by a hash of the key"},
    )

    def __post_init__(self) -> None:
        """Refuse values that cannot be meant."""
        super().__post_init__()
        if self.prompt is not None:
            check_text("--prompt", self.prompt)

    def prompt_of(self, key: str) -> str:
        """The question for a row."""
        return self.prompt or PROMPTS[xxhash.xxh3_64_intdigest(key.encode()) % len(PROMPTS)]
