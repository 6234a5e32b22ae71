"""Embedding the same shards with coreset, with a plain float32 loop over open_clip, and with clip-retrieval.

``python benchmarks/embed_vs_peers.py [--shards GLOB ...] [--pictures 300] [--repeats 3] [--clip-retrieval VENV]``
``python benchmarks/embed_vs_peers.py --demo-model [--photographs FOLDER] [--side 1024]`` compares the demo's tiny model
with a bare decoding loop instead: of large pictures decoding is most of the work. Of the JPEGs under FOLDER, which
should be larger than ``--side``, random windows of that longer side are taken, with captions of the demo's.

All have the same weights: random ones of ``--model``, saved once. The methods take turns, each in a process of its own,
``--repeats`` times; the medians count, because times on a shared machine move. The time is that of the loop from the
first byte of a shard to the last vector; loading the model is not in it. Of clip-retrieval it is what the command takes
for all pictures less what it takes for one.

``VENV`` is an environment with ``pip install 'setuptools<80' clip-retrieval==2.45.0``.
"""

import argparse
import dataclasses
import io
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from unittest import mock

import torch
import webdataset
from memory import TreeSampler
from PIL import Image

from coreset.demo import FOLDER, MODEL
from coreset.sources import decoding
from coreset.sources.pairs import Pair
from coreset.sources.pictures import BadPictureError, decoded
from coreset.sources.readers import read_pairs
from coreset.sources.shards import find_shards

BATCH = 64
Numbers = dict[str, float]


def pairs_of(patterns: list[str], most: int) -> Iterator[Pair]:
    """Pairs whose pictures decode, in turn from each shard, so that all kinds of pictures are among the first."""
    readers = [read_pairs(shard) for shard in find_shards(patterns)]
    found = 0
    while readers and found < most:
        for reader in list(readers):
            pair = next((entry for entry in reader if isinstance(entry, Pair) and decodes(entry.image)), None)
            if pair is None:
                readers.remove(reader)
            elif found < most:
                found += 1
                yield pair


def decodes(content: bytes) -> bool:
    """Whether a picture can be used: the demo has one that was cut short."""
    try:
        decoded(content)
    except BadPictureError:
        return False
    return True


def enlarged(content: bytes, side: int) -> bytes:
    """A JPEG of the same picture whose longer side is `side`."""
    image = decoded(content)
    scale = side / max(image.size)
    file = io.BytesIO()
    size = (round(image.width * scale), round(image.height * scale))
    image.resize(size, Image.Resampling.BICUBIC).save(file, "JPEG", quality=90)
    return file.getvalue()


def windows(folder: str, side: int, pairs: list[Pair]) -> Iterator[Pair]:
    """The pairs with windows of photographs, of the shape 4:3 and that longer side, as JPEGs of quality 90."""
    draw = random.Random(0)
    photographs = []
    for path in sorted(Path(folder).rglob("*.jpg")):
        image = Image.open(path).convert("RGB")
        if image.width >= side and image.height >= 3 * side // 4:
            image.thumbnail((2 * side, 2 * side))  # so that a window shows a good part of it
            photographs.append(image)
    for number, pair in enumerate(pairs):
        image = photographs[number % len(photographs)]
        width, height = (side, 3 * side // 4)
        left, top = draw.randint(0, image.width - width), draw.randint(0, max(0, image.height - height))
        file = io.BytesIO()
        image.crop((left, top, left + width, top + height)).save(file, "JPEG", quality=90)
        yield dataclasses.replace(pair, image=file.getvalue())


def write_tar(file: Path, pairs: list[Pair]) -> None:
    """A shard as img2dataset writes it."""
    file.parent.mkdir(parents=True)
    with webdataset.TarWriter(str(file), encoder=False) as tar:
        for number, pair in enumerate(pairs):
            tar.write({"__key__": f"{number:09d}", "jpg": pair.image, "txt": (pair.caption or "").encode()})


def save_weights(model: str, file: Path | str) -> None:
    """Random weights of a model, in open_clip's own form, which clip-retrieval reads as well."""
    import open_clip

    torch.manual_seed(0)
    torch.save(open_clip.create_model(model, load_weights=False).state_dict(), file)


def coreset_loop(tar: Path, model: str, weights: str, precision: str, threads: int) -> Numbers:
    """`coreset embed`, without the start of the program and the loading of the model."""
    from coreset.embed import EmbedParams, resolved
    from coreset.encoder import as_array, loaded_encoder
    from coreset.encoder.calls import Calls
    from coreset.pipeline import Run, embedded
    from coreset.recipe import Recipe

    spent: list[float] = []
    called = Calls._called

    def timed(self: Calls, call: Callable[[], torch.Tensor]) -> torch.Tensor:
        begun = time.perf_counter()
        found = called(self, call)
        spent.append((time.perf_counter() - begun) * self._each)
        return found

    with tempfile.TemporaryDirectory() as folder, mock.patch.object(Calls, "_called", timed):
        params = EmbedParams(model, weights or None, precision=precision, batch_size=BATCH, threads=threads)
        loaded = resolved(params, f"{folder}/none")  # the weights are hashed here
        as_array(loaded_encoder(loaded[1]).text_vectors(["a caption"]))
        spent.clear()
        clock = Clock()
        with mock.patch("coreset.pipeline.embed.resolved", return_value=loaded):
            rows = embedded(Run(f"{folder}/run"), Recipe((str(tar),), embed=params)).counts["rows"]
        return {"pictures": rows, **clock.read(), "model": sum(spent) / threads}


def plain_loop(tar: Path, model: str, weights: str, precision: str, threads: int) -> Numbers:  # noqa: ARG001
    """What one writes first: a loop over open_clip in float32, a batch at a time."""
    import open_clip

    torch.set_num_threads(threads)
    tower, _, preprocess = open_clip.create_model_and_transforms(model, pretrained=weights or None)
    tokenizer = open_clip.get_tokenizer(model)
    tower.eval()
    clock = Clock()
    samples = list(webdataset.WebDataset(str(tar), shardshuffle=False))
    for start in range(0, len(samples), BATCH):
        batch = samples[start : start + BATCH]
        images = torch.stack([preprocess(Image.open(io.BytesIO(sample["jpg"])).convert("RGB")) for sample in batch])
        with torch.inference_mode():
            tower.encode_image(images, normalize=True).numpy()
            tower.encode_text(tokenizer([sample["txt"].decode() for sample in batch]), normalize=True).numpy()
    return {"pictures": len(samples), **clock.read()}


def decoding_loop(tar: Path, model: str, weights: str, precision: str, threads: int) -> Numbers:
    """Nothing but reading, decoding and resizing, in as many threads of one process."""
    from coreset.embed import EmbedParams, resolved
    from coreset.encoder import fit_of, loaded_encoder

    params = EmbedParams(model, weights or None, precision=precision, batch_size=BATCH, threads=threads)
    fit = fit_of(loaded_encoder(resolved(params, "/nowhere")[1]))
    clock = Clock()

    def brought_to_size(content: bytes) -> bool:
        return bool(decoded(content, fit=fit).tobytes())

    with ThreadPoolExecutor(threads) as pool:
        (shard,) = find_shards([str(tar)])
        contents = [pair.image for pair in read_pairs(shard) if isinstance(pair, Pair)]
        count = sum(pool.map(brought_to_size, contents))
    return {"pictures": count, **clock.read()}


class Clock:
    """Seconds since it was made, and of processor time: of this process, and of those that it waited for."""

    def __init__(self) -> None:
        self._begun = time.perf_counter(), self._used()

    def read(self) -> Numbers:
        """Both."""
        decoding._close_idle()  # so that the time of the processes that decode is known
        return {"seconds": time.perf_counter() - self._begun[0], "cpu": self._used() - self._begun[1]}

    @staticmethod
    def _used() -> float:
        found = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
        return sum(usage.ru_utime + usage.ru_stime for usage in found)


METHODS: dict[str, Callable[[Path, str, str, str, int], Numbers]] = {
    "coreset": coreset_loop,
    "plain float32 loop": plain_loop,
    "bare decoding": decoding_loop,
}


def measured(method: str, tar: Path, given: argparse.Namespace, weights: str) -> Numbers:
    """One method in a process of its own."""
    program = [sys.executable, __file__, "--only", method, "--shards", str(tar), "--weights", weights]
    program += ["--model", given.model, "--precision", given.precision, "--threads", str(given.threads)]
    waiting = {"OMP_WAIT_POLICY": "PASSIVE"} if method == "coreset" else {}  # as the command sets it
    process = subprocess.Popen(program, stdout=subprocess.PIPE, text=True, env={**os.environ, **waiting})
    with TreeSampler(process.pid) as sampler:
        said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"{method} failed")
    numbers: Numbers = json.loads(said.splitlines()[-1])
    return {**numbers, "peak": sampler.peak}


def clip_retrieval(venv: str, tars: tuple[Path, Path], given: argparse.Namespace, weights: str) -> Numbers:
    """The command of clip-retrieval, for all pictures less for one."""
    seconds, cpu, peak = [], [], 0
    environment = {**os.environ, "OMP_NUM_THREADS": str(given.threads), "PYTHONPATH": ""}
    for tar in tars:
        with tempfile.TemporaryDirectory() as folder:
            flags = {
                "input_dataset": str(tar),
                "output_folder": folder,
                "input_format": "webdataset",
                "clip_model": f"open_clip:{given.model}/{weights}",
                "batch_size": BATCH,
                "num_prepro_workers": 1,  # more need more tars, and wait for ever without
                "enable_wandb": False,
                "use_jit": False,
                "output_partition_count": 1,
            }
            program = [f"{venv}/bin/clip-retrieval", "inference"]
            program += [f"--{name}={value}" for name, value in flags.items()]
            begun = time.perf_counter()
            process = subprocess.Popen(program, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment)
            with TreeSampler(process.pid) as sampler:
                code = process.wait()
            seconds.append(time.perf_counter() - begun)
            cpu.append(sum(sampler.cpu.values()))
            peak = max(peak, sampler.peak)
            if code or not list(Path(folder).glob("img_emb/*.npy")):
                raise SystemExit(f"clip-retrieval ended with {code} and no vectors")
    return {"pictures": given.pictures - 1, "seconds": seconds[1] - seconds[0], "cpu": cpu[1] - cpu[0], "peak": peak}


def product_peak(dtype: torch.dtype, threads: int) -> float:
    """Operations a second of a matrix product of 2,048 x 2,048, the best of ten."""
    torch.set_num_threads(threads)
    one, other = (torch.randn(2048, 2048).to(dtype) for _ in range(2))
    times = []
    for _ in range(10):
        begun = time.perf_counter()
        torch.mm(one, other)
        times.append(time.perf_counter() - begun)
    return 2 * 2048**3 / min(times)


def operations(model: str, captions: list[str]) -> float:
    """Operations of one picture and of an average caption, cut to its length."""
    import open_clip
    from torch.utils.flop_counter import FlopCounterMode

    from coreset.encoder.captions import CaptionTower

    torch.backends.mha.set_fastpath_enabled(False)  # its one operation is not counted
    tower = open_clip.create_model(model, load_weights=False).eval()
    tokens = open_clip.get_tokenizer(model)(captions)
    texts = CaptionTower(tower, tokens.shape[1])
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        for rows, length, _ in texts.groups(tokens, BATCH):
            texts.vectors(tokens[rows, :length])
        whole = counted.get_total_flops() / len(captions)
    size = tower.visual.image_size
    height, width = size if isinstance(size, tuple) else (size, size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counted:
        tower.encode_image(torch.zeros(1, 3, height, width))
        return float(counted.get_total_flops() + whole)


def show(runs: dict[str, list[Numbers]]) -> None:
    """A line for each method; ratios of turns that stood side by side, by the clock and by processor time."""
    for name, turns in runs.items():
        rate = statistics.median(turn["pictures"] / turn["seconds"] for turn in turns)
        peak = max(turn["peak"] for turn in turns) / 2**20
        by_clock, by_cpu = (ratios(runs["coreset"], turns, what) for what in ("seconds", "cpu"))
        print(
            f"{name:20s} {rate:8.1f} pictures/s, peak {peak:6,.0f} MiB; coreset {by_clock}, of CPU {by_cpu}", flush=True
        )


def ratios(ours: list[Numbers], theirs: list[Numbers], what: str) -> str:
    """How many times as long another takes for a picture: the median, and every turn."""
    found = [
        other[what] / other["pictures"] / (own[what] / own["pictures"]) for own, other in zip(ours, theirs, strict=True)
    ]
    return f"{statistics.median(found):.2f} x ({', '.join(f'{ratio:.2f}' for ratio in sorted(found))})"


def compare(given: argparse.Namespace) -> None:
    """All methods in turn, and what comes of them."""
    pairs = list(pairs_of(given.shards, given.pictures))
    if given.photographs:
        pairs = list(windows(given.photographs, given.side or 512, pairs))
    elif given.side:
        pairs = [dataclasses.replace(pair, image=enlarged(pair.image, given.side)) for pair in pairs]
    runs: dict[str, list[Numbers]] = {}
    with tempfile.TemporaryDirectory() as place:
        one, tar = Path(place, "one/00000.tar"), Path(place, "all/00000.tar")
        write_tar(one, pairs[:1])
        write_tar(tar, pairs)
        weights = "" if given.demo_model else str(Path(place, "weights.pt"))
        if weights:
            save_weights(given.model, Path(weights))
        names = ["coreset", "bare decoding" if given.demo_model else "plain float32 loop"]
        for _ in range(given.repeats):
            for name in names:
                runs.setdefault(name, []).append(measured(name, tar, given, weights))
            if given.clip_retrieval:
                turn = clip_retrieval(given.clip_retrieval, (one, tar), given, weights)
                runs.setdefault("clip-retrieval", []).append(turn)
    mean = sum(len(pair.image) for pair in pairs) / len(pairs) / 1000
    print(f"{len(pairs)} pictures of {mean:.0f} kB on average, load {os.getloadavg()[0]:.1f} at the end")
    print(f"{given.model}, batches of {BATCH}, {given.threads} thread(s), {given.precision}")
    show(runs)
    shares = sorted(turn["model"] / turn["seconds"] for turn in runs["coreset"])
    print(f"share of the time in the model: {', '.join(f'{share:.0%}' for share in shares)}")
    if not given.demo_model:
        rate = statistics.median(turn["pictures"] / turn["seconds"] for turn in runs["coreset"])
        each = operations(given.model, [pair.caption or "" for pair in pairs])
        peak = product_peak(getattr(torch, given.precision), given.threads)
        print(
            f"{each / 1e9:.1f} GFLOP a pair: {each * rate / 1e9:.0f} GFLOP/s, {each * rate / peak:.0%} of the "
            f"{peak / 1e9:.0f} GFLOP/s of a product of matrices in {given.precision}"
        )


def main() -> None:
    """Compares, or runs the one method that the parent asks for."""
    flags = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    flags.add_argument("--shards", nargs="+", default=[f"{FOLDER}/shards/*/*.tar"])
    flags.add_argument("--pictures", type=int, default=300)
    flags.add_argument("--repeats", type=int, default=3)
    flags.add_argument("--model", default="ViT-B-32")
    flags.add_argument("--precision", default="bfloat16")
    flags.add_argument("--threads", type=int, default=2)
    flags.add_argument("--clip-retrieval", metavar="VENV")
    flags.add_argument("--side", type=int, help="enlarge the pictures to so many pixels first")
    flags.add_argument("--photographs", metavar="FOLDER", help="take windows of these instead of the demo's pictures")
    flags.add_argument("--demo-model", action="store_true")
    flags.add_argument("--only", choices=METHODS, help=argparse.SUPPRESS)
    flags.add_argument("--weights", default="", help=argparse.SUPPRESS)
    given = flags.parse_args()
    if given.demo_model:
        given.model, given.precision = MODEL, "float32"
    if given.only:
        print(
            json.dumps(
                METHODS[given.only](Path(given.shards[0]), given.model, given.weights, given.precision, given.threads)
            )
        )
    else:
        compare(given)


if __name__ == "__main__":
    main()
