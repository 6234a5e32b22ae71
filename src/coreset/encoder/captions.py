"""Captions at the price of their length: text towers cut to a few fixed lengths, where that changes nothing.

A text tower reads as many tokens as its longest caption could have, and most captions are short. Where no token sees
those after it and the vector is read at the end of the text, whatever follows the end cannot reach it: the tower may
be cut behind it. It is not cut where padding is seen, as in SigLIP's.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import numpy as np
import open_clip
import torch
from jaxtyping import Int64
from open_clip.transformer import TextTransformer, Transformer
from torch import nn

from coreset.encoder.packed import SelfAttention, is_plain

LENGTHS = (8, 12, 16, 20, 24, 28, 32, 40)
"""Tokens to which a tower is cut; a caption belongs to the first that holds all of it, else to the whole tower."""

TOKENS = 4
"""Tokens of one call for each picture of a batch; larger calls were no faster."""


class CaptionTower:
    """The text tower of a model, called with tokens of one length; shorter ones give the same vectors for less.

    Attributes:
        lengths: tokens that it may be called with, ascending; the last one is the whole
    """

    def __init__(self, model: nn.Module, context: int) -> None:
        self._towers: dict[int, Any] = {context: model}
        owner = _causal_owner(model)
        if owner is not None:
            for block in owner.transformer.resblocks:
                if is_plain(getattr(block, "attn", None)):
                    block.attn = SelfAttention(block.attn, is_causal=True)
            self._towers.update({length: _cut(model, owner, length) for length in LENGTHS if length < context})
        self._pooling, self._eos = _pooling(owner) if owner is not None else ("", None)
        self.lengths = tuple(sorted(self._towers))

    def vectors(self, tokens: Int64[torch.Tensor, "b length"]) -> torch.Tensor:
        """A vector for each row of tokens, not yet of length 1."""
        found: torch.Tensor = self._towers[tokens.shape[1]].encode_text(tokens)
        return found

    def groups(self, tokens: Int64[torch.Tensor, "n context"], batch: int) -> Iterator[tuple[np.ndarray, int, int]]:
        """Which rows to call the tower with together, cut to what length, and how many rows each such call has.

        A row's length is its own affair. Calls of all lengths have about as many tokens, so that of the few rows that
        are long not many are missing to a full call.
        """
        lengths = self._fitting(tokens)
        for length in self.lengths:
            rows = np.flatnonzero(lengths == length)
            many = max(1, TOKENS * batch // length)
            for start in range(0, len(rows), many):
                yield rows[start : start + many], length, many

    def _fitting(self, tokens: Int64[torch.Tensor, "n context"]) -> Int64[np.ndarray, "n"]:
        if len(self.lengths) == 1:
            return np.full(len(tokens), self.lengths[0])
        numbers = tokens.numpy()
        ends = (numbers == self._eos if self._pooling == "eos" else numbers).argmax(axis=-1) + 1
        lengths: np.ndarray[Any, Any] = np.array(self.lengths)[np.searchsorted(self.lengths, ends)]
        return lengths


def _causal_owner(model: nn.Module) -> Any | None:  # noqa: ANN401  open_clip has no types
    """What holds the text tower's tables, if the tower may be cut: it is causal, and read at the end of the text."""
    owner: Any = None
    if type(model) is open_clip.CLIP:
        owner = model
    elif type(model) is open_clip.CustomTextCLIP and type(model.text) is TextTransformer:
        owner = model.text
        if owner.cls_emb is not None or owner.use_pad_mask:
            return None
    if owner is None or not isinstance(owner.transformer, Transformer) or _pooling(owner)[0] not in {"argmax", "eos"}:
        return None
    mask = owner.attn_mask
    is_causal = mask is not None and torch.equal(mask, torch.full_like(mask, -torch.inf).triu_(1))
    return owner if is_causal else None


def _pooling(owner: Any) -> tuple[str, int | None]:  # noqa: ANN401  open_clip has no types
    """At which token the vector is read: the largest (`argmax`), or the one of that number (`eos`)."""
    if isinstance(owner, TextTransformer):
        return owner.pool_type, owner.eos_id
    return owner.text_pool_type, owner.text_eos_id


def _cut(model: nn.Module, owner: Any, length: int) -> nn.Module:  # noqa: ANN401  open_clip has no types
    """The same model, its text tables cut; everything else is shared."""
    short: nn.Module = copy.copy(owner)
    places = nn.Parameter(owner.positional_embedding[:length], requires_grad=False)
    short._parameters = {**short._parameters, "positional_embedding": places}
    short._buffers = {**short._buffers, "attn_mask": owner.attn_mask[:length, :length].contiguous()}
    if owner is model:
        return short
    whole = copy.copy(model)
    whole._modules = {**whole._modules, "text": short}
    return whole
