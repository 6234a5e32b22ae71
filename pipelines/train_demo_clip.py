"""Train the tiny CLIP that ships with ``coreset demo``, and measure it on pairs it never saw.

Train, then write ``open_clip_config.json`` and ``open_clip_model.safetensors`` (float16) into a folder::

    python pipelines/train_demo_clip.py SHARDS... --out FOLDER --epochs 24 --seed 0

Measure the files in a folder, loaded as any user loads them::

    python pipelines/train_demo_clip.py SHARDS... --evaluate FOLDER

A pair is named ``SOURCE/KEY``, SOURCE being the folder its tar lies in. One pair in ten, chosen by the
hash of that name, is held out.

The loss has two terms. The usual contrastive one pulls a picture to its caption. Hundreds of different
icons share one caption word for word, and that term alone pulls them all to the same vector; the
second term therefore asks the picture vector itself to tell pictures apart, by matching two
augmented views of the same picture. In both, equal captions (or equal pictures) in a batch are no
negatives of each other.
"""

import argparse
import hashlib
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import open_clip
import torch
import torch.nn.functional as F  # noqa: N812 - the customary name
import webdataset as wds
import xxhash
from safetensors.torch import save_file
from torch import Tensor

HELD_OUT_ONE_IN = 10

MODEL = {
    "embed_dim": 192,
    "vision_cfg": {"image_size": 64, "layers": [2, 2, 2, 1], "width": 24, "head_width": 64},
    "text_cfg": {"context_length": 24, "vocab_size": 49408, "width": 80, "heads": 4, "layers": 3},
}

# Squash shows every picture whole: a centre crop would cut the head off a tall figure. With this mean and
# deviation white, the background of nearly all pictures, is exactly 1.
PREPROCESS = {
    "mean": [0.5, 0.5, 0.5],
    "std": [0.5, 0.5, 0.5],
    "interpolation": "bicubic",
    "resize_mode": "squash",
}
WHITE = 1.0


@dataclass(frozen=True)
class Training:
    """What decides the weights, besides the pairs.

    Attributes:
        epochs: Passes over the training pairs.
        seed: Seeds the weights, the order, the augmentation and the shortening of captions.
        threads: CPU threads; float sums, so the weights too, depend on it.
        batch: Pairs in a step.
        peak_rate: Highest learning rate of AdamW, reached after `warmup_epochs`, then a cosine to zero.
        warmup_epochs: Epochs of linear warm-up.
        weight_decay: Decay of the matrices; gains, biases and position embeddings are exempt.
        max_logit_scale: Cap on the learned inverse temperature between pictures and captions.
        view_weight: Weight of the picture-to-picture term.
        view_scale: Its fixed inverse temperature. A higher one spreads unlike pictures less evenly and
            lets near-duplicates lie closer together.
    """

    epochs: int
    seed: int
    threads: int
    batch: int = 256
    peak_rate: float = 1.5e-3
    warmup_epochs: float = 1.0
    weight_decay: float = 0.2
    max_logit_scale: float = 50.0
    view_weight: float = 1.0
    view_scale: float = 10.0


@dataclass(frozen=True)
class Pairs:
    """Preprocessed pictures with their captions, row by row.

    Attributes:
        names: ``SOURCE/KEY`` of each pair.
        captions: Captions as they are.
        digests: SHA-256 of the encoded picture: equal for exact copies.
        pictures: float32 of shape (n, 3, size, size), normalised.
    """

    names: list[str]
    captions: list[str]
    digests: list[str]
    pictures: Tensor

    def __len__(self) -> int:
        """Number of pairs."""
        return len(self.names)

    def where(self, chosen: Sequence[bool]) -> "Pairs":
        """The pairs whose flag is set, in the same order."""
        rows = [row for row, flag in enumerate(chosen) if flag]
        return Pairs(
            [self.names[row] for row in rows],
            [self.captions[row] for row in rows],
            [self.digests[row] for row in rows],
            self.pictures[rows],
        )


def is_held_out(name: str) -> bool:
    """Whether the pair called `name` (``SOURCE/KEY``) is kept away from training."""
    return xxhash.xxh3_64_intdigest(name.encode()) % HELD_OUT_ONE_IN == 0


def read_pairs(tars: Sequence[Path], preprocess: Callable[[Any], Tensor]) -> Pairs:
    """All pairs of the tars, in the order they lie there.

    Args:
        tars: webdataset shards with ``jpg`` and ``txt`` members.
        preprocess: Picture to tensor, as open_clip builds it.
    """
    names, captions, digests, pictures = [], [], [], []
    decode_picture = wds.autodecode.imagehandler("pil")
    for tar in tars:
        for sample in wds.WebDataset(str(tar), shardshuffle=False):
            names.append(f"{tar.parent.name}/{sample['__key__']}")
            captions.append(sample["txt"].decode())
            digests.append(hashlib.sha256(sample["jpg"]).hexdigest())
            pictures.append(preprocess(decode_picture("jpg", sample["jpg"])))
    return Pairs(names, captions, digests, torch.stack(pictures))


def augmented(pictures: Tensor, generator: torch.Generator) -> Tensor:
    """Slightly moved, stretched, turned and recoloured copies; what comes into view is white.

    Pictures are never mirrored: captions say "facing left" and "left arrow".

    Args:
        pictures: Normalised pictures, shape (n, 3, size, size).
        generator: Source of the random numbers.
    """
    n = len(pictures)

    def between(low: float, high: float, *shape: int) -> Tensor:
        return low + (high - low) * torch.rand(n, *shape, generator=generator)

    angle, stretch, shift = between(-0.15, 0.15), between(0.8, 1.1, 2), between(-0.15, 0.15, 2)
    turn = torch.stack([angle.cos(), -angle.sin(), angle.sin(), angle.cos()], 1).view(n, 2, 2)
    affine = torch.cat([turn * stretch[:, None, :], shift[:, :, None]], 2)
    grid = F.affine_grid(affine, list(pictures.shape), align_corners=False)
    moved = F.grid_sample(pictures - WHITE, grid, align_corners=False)
    contrast, tint = between(0.7, 1.0, 1, 1, 1), between(0.85, 1.15, 3, 1, 1)
    return moved * contrast * tint + WHITE


def shortened(caption: str, rng: random.Random) -> str:
    """The caption as it is half of the time, else a random part of its comma-separated phrases."""
    phrases = caption.split(", ")
    if len(phrases) == 1 or rng.random() < 0.5:
        return caption
    kept = sorted(rng.sample(range(len(phrases)), rng.randint(1, len(phrases))))
    return ", ".join(phrases[position] for position in kept)


def group_numbers(labels: Sequence[str]) -> Tensor:
    """A number for each row, the same for equal labels."""
    return torch.from_numpy(np.unique(np.asarray(labels), return_inverse=True)[1])


def contrastive_loss(a: Tensor, b: Tensor, scale: Tensor | float, groups: Tensor) -> Tensor:
    """Symmetric cross-entropy between two sets of unit vectors whose rows belong together.

    Args:
        a: Unit vectors, shape (n, d).
        b: Unit vectors, shape (n, d); row i belongs to row i of `a`.
        scale: Inverse temperature.
        groups: Shape (n,). Rows of one group share the target evenly instead of repelling each other.
    """
    logits = scale * a @ b.T
    same = (groups[:, None] == groups[None, :]).float()
    target = same / same.sum(1, keepdim=True)
    return (F.cross_entropy(logits, target) + F.cross_entropy(logits.T, target)) / 2


def optimizer_of(model: torch.nn.Module, training: Training) -> torch.optim.AdamW:
    """AdamW with weight decay on matrices only."""
    exempt = [p for name, p in model.named_parameters() if p.ndim < 2 or "positional" in name]
    exempt_ids = {id(p) for p in exempt}
    decayed = [p for p in model.parameters() if id(p) not in exempt_ids]
    groups = [
        {"params": decayed, "weight_decay": training.weight_decay},
        {"params": exempt, "weight_decay": 0.0},
    ]
    return torch.optim.AdamW(groups, lr=training.peak_rate, betas=(0.9, 0.98))


def rate_factor(step: int, steps: int, warmup: int) -> float:
    """Share of the peak learning rate at `step`: linear warm-up, then a half cosine to zero."""
    if step < warmup:
        return (step + 1) / warmup
    return 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, steps - warmup)))


def batches(n: int, size: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers of each full batch of one shuffled pass over `n` rows."""
    order = torch.randperm(n, generator=generator)
    for start in range(0, n - size + 1, size):
        yield order[start : start + size]


def train(
    pairs: Pairs, training: Training, tokenizer: Callable[[list[str]], Tensor]
) -> Iterator[tuple[torch.nn.Module, float]]:
    """Train a new model; after each epoch it and the epoch's mean loss are yielded.

    Args:
        pairs: Training pairs only.
        training: All settings.
        tokenizer: Captions to token numbers.
    """
    torch.manual_seed(training.seed)
    generator = torch.Generator().manual_seed(training.seed)
    rng = random.Random(training.seed)  # noqa: S311 - augmentation, not secrets
    model = open_clip.CLIP(**MODEL).to(memory_format=torch.channels_last)
    optimizer = optimizer_of(model, training)
    per_epoch = len(pairs) // training.batch
    steps, warmup = per_epoch * training.epochs, round(per_epoch * training.warmup_epochs)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimizer, lambda step: rate_factor(step, steps, warmup))
    same_picture = group_numbers(pairs.digests)

    for _ in range(training.epochs):
        model.train()
        total = 0.0
        for rows in batches(len(pairs), training.batch, generator):
            captions = [shortened(pairs.captions[row], rng) for row in rows.tolist()]
            views = [augmented(pairs.pictures[rows], generator) for _ in range(2)]
            with torch.autocast("cpu", torch.bfloat16):
                x = model.encode_image(torch.cat(views).to(memory_format=torch.channels_last), normalize=True).float()
                t = model.encode_text(tokenizer(captions), normalize=True).float()
            first, second = x.chunk(2)
            scale = model.logit_scale.exp()
            same_caption = group_numbers(captions)
            to_text = contrastive_loss(first, t, scale, same_caption)
            to_text = (to_text + contrastive_loss(second, t, scale, same_caption)) / 2
            to_view = contrastive_loss(first, second, training.view_scale, same_picture[rows])
            loss = to_text + training.view_weight * to_view
            optimizer.zero_grad()
            torch.autograd.backward(loss)
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            with torch.no_grad():
                model.logit_scale.clamp_(0, math.log(training.max_logit_scale))
            total += loss.item()
        yield model, total / per_epoch


def write_config(folder: Path) -> None:
    """Write the ``open_clip_config.json`` that open_clip's ``local-dir:`` reads."""
    folder.mkdir(parents=True, exist_ok=True)
    config = {"model_cfg": MODEL, "preprocess_cfg": PREPROCESS}
    (folder / "open_clip_config.json").write_text(json.dumps(config, indent=2) + "\n")


def preprocess_of(folder: Path) -> Callable[[Any], Tensor]:
    """The transform from picture to tensor that the config in `folder` describes."""
    config = json.loads((folder / "open_clip_config.json").read_text())
    size = config["model_cfg"]["vision_cfg"]["image_size"]
    transform: Callable[[Any], Tensor] = open_clip.image_transform(size, is_train=False, **config["preprocess_cfg"])
    return transform


def write_weights(folder: Path, model: torch.nn.Module) -> None:
    """Write the weights, rounded to float16, as ``open_clip_model.safetensors``."""
    weights = {
        name: (value.half() if value.is_floating_point() else value).contiguous()
        for name, value in model.state_dict().items()
    }
    save_file(weights, folder / "open_clip_model.safetensors")


def unit_vectors(
    model: open_clip.CLIP, pairs: Pairs, tokenizer: Callable[[list[str]], Tensor]
) -> tuple[Tensor, Tensor]:
    """Picture and caption vectors in float32, both of shape (n, d) and unit length."""
    model.eval()
    x, t = [], []
    with torch.no_grad():
        for start in range(0, len(pairs), 256):
            rows = slice(start, start + 256)
            x.append(model.encode_image(pairs.pictures[rows], normalize=True))
            t.append(model.encode_text(tokenizer(pairs.captions[rows]), normalize=True))
    return torch.cat(x), torch.cat(t)


def hit_rate(queries: Tensor, answers: Tensor, labels: Tensor, top: int) -> float:
    """Share of queries that fewer than `top` wrong answers come before, or level with, the right one.

    Args:
        queries: Unit vectors, shape (n, d).
        answers: Unit vectors, shape (n, d); row i is the right answer to query i.
        labels: Shape (n,). Answers with the label of the right one are not wrong.
        top: How many answers are looked at.
    """
    cosine = queries @ answers.T
    wrong = labels[:, None] != labels[None, :]
    ahead = (wrong & (cosine >= cosine.diagonal()[:, None])).sum(1)
    return (ahead < top).float().mean().item()


def first_of_each(labels: Sequence[str]) -> list[bool]:
    """Flags the first row with each label."""
    return [label not in labels[:row] for row, label in enumerate(labels)]


def measure(folder: Path, pairs: Pairs) -> dict[str, int | float]:
    """Retrieval figures of the files in `folder` on the held-out part of `pairs`.

    Hundreds of pairs share one caption, so the figures are given three times: for all held-out pairs,
    where an equal caption is as right as a picture's own; for the first pair with each caption; and for
    those among them whose caption no training pair has, nor an exact copy of the picture.

    Args:
        folder: Holds the config and the weights.
        pairs: All pairs, training pairs included.
    """
    model = open_clip.create_model(f"local-dir:{folder}")
    tokenizer = open_clip.get_tokenizer(f"local-dir:{folder}")
    held_out = [is_held_out(name) for name in pairs.names]
    tests, trained = pairs.where(held_out), pairs.where([not flag for flag in held_out])
    distinct = tests.where(first_of_each(tests.captions))
    seen = {*trained.captions, *trained.digests}
    fresh = distinct.where([seen.isdisjoint(pair) for pair in zip(distinct.captions, distinct.digests, strict=True)])
    figures: dict[str, int | float] = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "training pairs": len(trained),
    }
    for title, subset in (("held out", tests), ("distinct captions", distinct), ("unseen", fresh)):
        x, t = unit_vectors(model, subset, tokenizer)
        labels = group_numbers(subset.captions)
        figures[f"{title}: pairs"] = len(subset)
        for direction, queries, answers in (("picture to caption", x, t), ("caption to picture", t, x)):
            for top in (1, 10):
                figures[f"{title}: {direction}, top {top}"] = hit_rate(queries, answers, labels, top)
    return figures


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("shards", nargs="+", type=Path, help="webdataset tars")
    target = parser.add_mutually_exclusive_group(required=True)
    target.add_argument("--out", type=Path, help="folder to write the model to, after every epoch")
    target.add_argument("--evaluate", type=Path, help="folder with a trained model to measure")
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=2)
    return parser.parse_args()


def main() -> None:
    """Train or evaluate, as the command line says."""
    options = arguments()
    torch.set_num_threads(options.threads)
    folder = options.evaluate or options.out
    if options.out:
        write_config(folder)
    pairs = read_pairs(sorted(options.shards), preprocess_of(folder))
    if options.out:
        training = Training(options.epochs, options.seed, options.threads)
        chosen = pairs.where([not is_held_out(name) for name in pairs.names])
        started = time.monotonic()
        for epoch, (model, loss) in enumerate(
            train(chosen, training, open_clip.get_tokenizer(f"local-dir:{folder}")), 1
        ):
            write_weights(folder, model)
            print(f"epoch {epoch}: loss {loss:.3f}, {time.monotonic() - started:.0f} s", flush=True)
    for name, value in measure(folder, pairs).items():
        print(f"{name}: {value if isinstance(value, int) else format(value, '.1%')}")


if __name__ == "__main__":
    main()
