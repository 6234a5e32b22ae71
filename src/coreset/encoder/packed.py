"""Transformers in bfloat16 on a CPU: weights laid out once as products read them, and no detours between them.

What torch does for each call, oneDNN's library does once here: it brings a weight into the blocks that the processor's
matrix units want. Layer norms of open_clip's go to float32 and back, three passes over memory that the kernel does in
one. The operations are the same; sums are taken in another order, so last digits differ.
"""

from __future__ import annotations

from typing import Any

import torch
from open_clip.transformer import LayerNormFp32, ResidualAttentionBlock, VisionTransformer
from timm.layers.mlp import GluMlp, Mlp, SwiGLU
from timm.layers.patch_embed import PatchEmbed
from torch import nn

OWNERS = (ResidualAttentionBlock, Mlp, GluMlp, SwiGLU)
"""Modules that call their linear layers, and do not take the weights out of them."""
PATCHES = ((VisionTransformer, "conv1"), (PatchEmbed, "proj"))
"""Modules that call the convolution of that name to cut pictures into patches."""


class PackedLinear(nn.Module):
    """A linear layer in bfloat16 whose weight is laid out for this processor; the plain weight is not kept.

    Attributes:
        weight: opaque, but for its dtype
        bias: or None
    """

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight = torch.ops.mkldnn._reorder_linear_weight(weight.detach(), None)
        self.bias = None if bias is None else bias.detach()

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """As `nn.Linear`."""
        found: torch.Tensor = torch.ops.mkldnn._linear_pointwise(rows, self.weight, self.bias, "none", [], "")
        return found


class PackedPatches(nn.Module):
    """The convolution that cuts pictures into patches, as one product: patches beside each other overlap nowhere.

    Its weights are laid out as those of a linear layer. Pictures whose colours lie beside each other in memory
    (torch's channels-last) are copied once, others twice.
    """

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.height, self.width = conv.kernel_size
        weight = conv.weight.permute(0, 2, 3, 1).reshape(conv.out_channels, -1).contiguous()
        self.linear = PackedLinear(weight, conv.bias)

    def forward(self, pictures: torch.Tensor) -> torch.Tensor:
        """As `nn.Conv2d`: (rows, channels, height, width) to (rows, numbers, patches down, patches across)."""
        rows, channels, down, across = pictures.shape
        down, across = down // self.height, across // self.width
        whole = pictures[:, :, : down * self.height, : across * self.width].permute(0, 2, 3, 1)
        lines = whole.reshape(rows, down, self.height, across, self.width * channels).transpose(2, 3)
        found: torch.Tensor = self.linear(lines.reshape(rows, down * across, -1))
        return found.transpose(1, 2).view(rows, -1, down, across)

    @staticmethod
    def fits(conv: nn.Module) -> bool:
        """Whether a convolution is one of patches in bfloat16, with nothing between them or around them."""
        if type(conv) is not nn.Conv2d or conv.weight.dtype != torch.bfloat16:
            return False
        return (conv.stride, conv.dilation, conv.groups) == (conv.kernel_size, (1, 1), 1) and conv.padding == (0, 0)


class MixedLayerNorm(nn.Module):
    """Layer norm of numbers in bfloat16 with weights in float32, computed in float32 within one pass."""

    def __init__(self, norm: nn.LayerNorm) -> None:
        super().__init__()
        self.shape, self.eps = norm.normalized_shape, norm.eps
        self.weight, self.bias = norm.weight, norm.bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """As `nn.LayerNorm`."""
        return nn.functional.layer_norm(rows, self.shape, self.weight, self.bias, self.eps)


class SelfAttention(nn.Module):
    """Attention of a block to itself: torch's own module without a copy of the input, with packed weights if they pack.

    Attributes:
        is_causal: whether no token sees a later one; masks that are passed are then not read
    """

    def __init__(self, attention: nn.MultiheadAttention, *, is_causal: bool) -> None:
        super().__init__()
        self.heads, self.is_causal = attention.num_heads, is_causal
        self.mixed: nn.Module = _Given(attention.in_proj_weight, attention.in_proj_bias)
        self.out: nn.Module = attention.out_proj

    def forward(
        self,
        query: torch.Tensor,
        *_: torch.Tensor,
        attn_mask: torch.Tensor | None = None,
        first: int | None = None,
        **__: bool,
    ) -> tuple[torch.Tensor]:
        """What `nn.MultiheadAttention` returns first; keys and values are the query's own.

        With `first`, only so many tokens are asked for; they see all others as before.
        """
        rows, tokens, width = query.shape
        mixed = self.mixed(query).view(rows, tokens, 3, self.heads, width // self.heads)
        query, key, value = mixed.permute(2, 0, 3, 1, 4)
        query = query[:, :, :first]
        mask = None if self.is_causal else attn_mask
        found = nn.functional.scaled_dot_product_attention(query, key, value, mask, is_causal=self.is_causal)
        out: torch.Tensor = self.out(found.transpose(1, 2).reshape(rows, -1, width))
        return (out,)


class FirstTokenBlock(nn.Module):
    """The last block of a tower of which only the first token is read: attention, sums and layers for no other one."""

    def __init__(self, block: ResidualAttentionBlock) -> None:
        super().__init__()
        self.block = block

    def forward(self, rows: torch.Tensor, *_: None, attn_mask: None = None) -> torch.Tensor:  # noqa: ARG002
        """The first token of each row as the block gives it: (rows, 1, width)."""
        block = self.block
        first = rows[:, :1] + block.ls_1(block.attn(block.ln_1(rows), first=1)[0])
        found: torch.Tensor = first + block.ls_2(block.mlp(block.ln_2(first)))
        return found


class _Given(nn.Module):
    """A linear layer of given weights."""

    def __init__(self, weight: torch.Tensor, bias: torch.Tensor | None) -> None:
        super().__init__()
        self.weight, self.bias = weight, bias

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        return nn.functional.linear(rows, self.weight, self.bias)


def packs() -> bool:
    """Whether this torch packs weights of bfloat16 here: its library for CPUs has the operations, and the CPU too."""
    operations = torch.ops.mkldnn
    names = ("_reorder_linear_weight", "_linear_pointwise", "_is_mkldnn_bf16_supported")
    return all(hasattr(operations, name) for name in names) and bool(operations._is_mkldnn_bf16_supported())


def pack(tower: nn.Module) -> None:
    """Replace, in place, what has a faster form in bfloat16 on a CPU: patches, attention, linear layers, layer norms.

    Only within blocks that are known to call their layers; what is not known stays as it is.
    """
    for owner in tower.modules():
        if isinstance(owner, ResidualAttentionBlock) and is_plain(owner.attn) and not hasattr(owner, "ln_1_kv"):
            owner.attn = SelfAttention(owner.attn, is_causal=False)
    for owner in list(tower.modules()):
        if isinstance(owner, OWNERS):
            _pack_within(owner)
        for kind, name in PATCHES:
            if isinstance(owner, kind) and PackedPatches.fits(conv := getattr(owner, name)):
                setattr(owner, name, PackedPatches(conv))


def read_first_token(visual: Any) -> None:  # noqa: ANN401  open_clip's types are not true to it
    """Replace, in place, the last block of a packed tower of pictures that is read at its first token alone.

    A block is one of twelve in ViT-B, and 10/12 of it are spent on tokens that nobody reads.
    """
    is_known = type(visual) is VisionTransformer
    if not is_known or visual.attn_pool is not None or visual.output_tokens:
        return
    blocks = visual.transformer.resblocks
    last = blocks[-1]
    if visual.pool_type == "tok" and isinstance(getattr(last, "attn", None), SelfAttention):
        blocks[-1] = FirstTokenBlock(last)


def is_plain(attention: Any) -> bool:  # noqa: ANN401  any module
    """Whether attention is torch's own, with one weight for queries, keys and values, and nothing added to them."""
    if type(attention) is not nn.MultiheadAttention:
        return False
    plain = attention.bias_k is None and not attention.add_zero_attn
    return bool(attention.batch_first and attention._qkv_same_embed_dim and plain)


def _pack_within(owner: nn.Module) -> None:
    for name, layer in list(owner.named_children()):
        if isinstance(layer, nn.Linear | _Given) and layer.weight.dtype == torch.bfloat16:
            setattr(owner, name, PackedLinear(layer.weight, layer.bias))
        elif isinstance(layer, LayerNormFp32) and layer.weight.dtype == torch.float32:
            setattr(owner, name, MixedLayerNorm(layer))
        elif not isinstance(layer, nn.MultiheadAttention):
            _pack_within(layer)
