"""What `embed` may be asked for besides: text vectors, known vectors, drafts, models of one's own, little memory."""

from __future__ import annotations

import json
import re
import shutil
import sys
import textwrap
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from command import check_equal, check_refused, contents, coreset, done
from models import write_model
from shards import good_pairs, write_shard

from coreset.embed_params import needs_of
from coreset.encoder import Choice, loading

BAD = ("--max-bad", "10")
PAGE = Path(__file__).parents[1] / "docs/encoders.md"


def plan(place: Path, run: str = "run") -> dict:
    return json.loads((place / run / "rows/plan.json").read_text())


def counts(place: Path, run: str = "run") -> dict[str, int]:
    return json.loads((place / run / "rows/stage.json").read_text())["counts"]


def test_text_vectors_are_kept_beside_the_others(place: Path, undisturbed: Path) -> None:
    done("embed", "--keep-text-vectors", "--allow-missing-caption", *BAD, cwd=place)
    for part in ("00000", "00001"):
        images, texts = (np.load(place / f"run/rows/{part}{end}").astype(np.float32) for end in (".npy", ".text.npy"))
        table = pq.read_table(place / f"run/rows/{part}.parquet")
        cosines = table["text_cosine"].to_numpy()
        has = ~np.isnan(cosines)
        np.testing.assert_allclose((images * texts).sum(1)[has], cosines[has], atol=2e-3)
        assert not texts[~has].any()
        assert texts.shape == images.shape
    done("embed", "--keep-text-vectors", "--allow-missing-caption", "--prefix-keys", *BAD, cwd=place)
    assert (place / "run/rows/00000.text.npy").stat().st_size == (place / "run/rows/00000.npy").stat().st_size
    done("verify", cwd=place)
    check_refused(coreset("embed", "--allow-missing-caption", "--prefix-keys", *BAD, cwd=place), 7, "keep_text_vectors")


@pytest.mark.parametrize("kind", ["run", "clip-retrieval"])
def test_known_vectors_are_not_computed_again(kind: str, finished: Path) -> None:
    folder = "run"
    if kind != "run":
        folder = "laion"
        for name in ("img_emb", "metadata"):
            (finished / folder / name).mkdir(parents=True)
        table = pq.read_table(finished / "run/rows/00000.parquet")
        shutil.copy(finished / "run/rows/00000.npy", finished / folder / "img_emb/img_emb_0.npy")
        pq.write_table(table.select(["key", "caption"]), finished / folder / "metadata/metadata_0.parquet")
    done("embed", "--reuse", folder, "--run", "second", *BAD, cwd=finished)
    again, before = counts(finished, "second"), counts(finished)
    assert again["reused"] == (before["rows"] if kind == "run" else 24)
    assert again["rows"] == before["rows"]
    for part in ("00000", "00001"):
        first, second = (np.load(finished / f"{run}/rows/{part}.npy") for run in ("run", "second"))
        assert np.array_equal(first, second)
        first, second = (pq.read_table(finished / f"{run}/rows/{part}.parquet") for run in ("run", "second"))
        assert first.drop(["text_cosine"]).equals(second.drop(["text_cosine"]))
        np.testing.assert_allclose(first["text_cosine"], second["text_cosine"], atol=1e-3)
    assert str(finished) not in json.dumps(plan(finished, "second"))
    check_refused(coreset("embed", "--run", "second", *BAD, cwd=finished), 7, "reuse")


def test_vectors_without_keys_or_of_another_length_cannot_be_taken(place: Path) -> None:
    (place / "bare").mkdir()
    np.save(place / "bare/img_emb_0.npy", np.eye(8, dtype=np.float16))
    check_refused(coreset("embed", "--reuse", "bare", *BAD, cwd=place), 3, "bare", "key")
    (place / "short/img_emb").mkdir(parents=True)
    (place / "short/metadata").mkdir()
    np.save(place / "short/img_emb/img_emb_0.npy", np.eye(4, dtype=np.float16))
    pq.write_table(pa.table({"key": ["000000000", "b", "c", "d"]}), place / "short/metadata/metadata_0.parquet")
    check_refused(coreset("embed", "--reuse", "short", *BAD, cwd=place), 3, "4 numbers", "8")


def test_a_key_that_stands_twice_is_computed(finished: Path) -> None:
    for number in (0, 1):
        shutil.copytree(finished / "run/rows", finished / f"twice/{number}", dirs_exist_ok=True)
    (finished / "both/rows").mkdir(parents=True)
    for number in (0, 1):
        for end in (".npy", ".parquet"):
            shutil.copy(finished / f"run/rows/00000{end}", finished / f"both/rows/0000{number}{end}")
    shutil.copy(finished / "run/rows/plan.json", finished / "both/rows/plan.json")
    done("embed", "--reuse", "both", "--run", "second", *BAD, cwd=finished)
    assert counts(finished, "second")["reused"] == 0


def test_only_added_shards_are_embedded(finished: Path) -> None:
    names = [f"run/rows/0000{number}{end}" for number in (0, 1) for end in (".npy", ".parquet")]
    before = {name: (finished / name).stat().st_mtime_ns for name in names}
    write_shard(finished / "shards/00000a.tar", good_pairs(9000, 30))
    done("embed", *BAD, cwd=finished)
    assert {name: (finished / name).stat().st_mtime_ns for name in names} == before
    added = pq.read_table(finished / "run/rows/00002.parquet")
    assert set(added["source"].to_pylist()) == {"00000a.tar"}
    assert counts(finished)["rows"] == 46 + 30
    check_refused(coreset("dedup", *BAD, cwd=finished), 7, "other rows", "--overwrite")
    done("dedup", "--overwrite", *BAD, cwd=finished)
    assert json.loads((finished / "run/dedup/stage.json").read_text())["counts"]["rows"] == 46 + 30


def test_the_decoder_is_part_of_what_a_run_is(place: Path) -> None:
    done("embed", "--decoder", "draft", *BAD, cwd=place)
    assert plan(place)["params"]["decoder"] == "draft"
    check_refused(coreset("embed", *BAD, cwd=place), 7, "decoder", "draft", "pillow")
    check_refused(coreset("embed", "--decoder", "turbo", cwd=place), 2, "turbo", "draft")


@pytest.mark.parametrize("workers", ["1", "2"])
def test_two_runs_have_the_same_bytes(place: Path, undisturbed: Path, workers: str) -> None:
    done("embed", "--workers", workers, *BAD, cwd=place)
    check_equal(place / "run/rows", contents(undisturbed / "run/rows"))


HUB_NAME = "open_clip_model.safetensors"
"""Of the weights in a repository of open_clip's form."""


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache of the Hugging Face hub's, as its client leaves it, that holds owner/tiny; the network is off."""
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "hub/models--owner--tiny"
    write_model(folder / "snapshots" / commit, "clip")
    (folder / "snapshots" / commit / "model.safetensors").rename(folder / "snapshots" / commit / HUB_NAME)
    (folder / "refs").mkdir()
    (folder / "refs/main").write_text(commit)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_CACHE", str(tmp_path / "hub"))
    return folder / "snapshots" / commit


def test_a_name_of_the_hub_gives_the_vectors_of_its_folder(place: Path, hub: Path) -> None:
    for run, model in (("hub", "hf-hub:owner/tiny"), ("local", f"local-dir:{hub}")):
        done("embed", "--model", model, "--run", run, *BAD, cwd=place)
    for part in ("00000.npy", "00001.npy"):
        assert (place / "hub/rows" / part).read_bytes() == (place / "local/rows" / part).read_bytes()
    assert plan(place, "hub")["params"]["model"] == "hf-hub:owner/tiny"
    config = json.loads((hub / "open_clip_config.json").read_text())
    (hub / "open_clip_config.json").write_text(json.dumps({**config, "preprocess_cfg": {"resize_mode": "squash"}}))
    said = coreset("embed", "--model", "hf-hub:owner/tiny", "--run", "hub", *BAD, cwd=place)
    check_refused(said, 7, "weights")


def test_a_name_that_the_hub_does_not_give_is_refused(place: Path, hub: Path) -> None:
    said = coreset("embed", "--model", "hf-hub:owner/tony", *BAD, cwd=place)
    check_refused(said, 3, "hf-hub:owner/tony could not be downloaded", "--pretrained FILE")


@pytest.fixture
def own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on the path with the example of the docs, and what an installed package says of it."""
    blocks = dict(re.findall(r"^```(python|toml)\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL))
    folder = tmp_path / "site"
    (folder / "mine-1.0.dist-info").mkdir(parents=True)
    (folder / "my_encoder.py").write_text(blocks["python"] + textwrap.dedent(GREEDY))
    (folder / "mine-1.0.dist-info/METADATA").write_text("Metadata-Version: 2.1\nName: mine\nVersion: 1.0\n")
    entry = re.search(r"^colours = \"(.*)\"", blocks["toml"], re.MULTILINE)
    assert entry
    names = f"[coreset.encoders]\ncolours = {entry[1]}\ngreedy = my_encoder:Greedy\nabsent = my_encoder:Absent\n"
    (folder / "mine-1.0.dist-info/entry_points.txt").write_text(names)
    monkeypatch.syspath_prepend(str(folder))
    yield folder
    sys.modules.pop("my_encoder", None)
    loading._loaded.cache_clear()


GREEDY = """
    class Greedy(Colours):
        MOST = 4

        def image_vectors(self, prepared):
            if len(prepared) > self.MOST:
                raise torch.OutOfMemoryError("CUDA out of memory")
            return super().image_vectors(prepared)
"""


def test_the_example_of_the_docs_embeds(place: Path, own: Path) -> None:
    done("embed", "--model", "encoder:colours", *BAD, cwd=place)
    assert np.load(place / "run/rows/00000.npy").shape == (24, 32)
    assert plan(place)["params"]["dimension"] == 32
    done("dedup", *BAD, cwd=place)
    (own / "my_encoder.py").write_text((own / "my_encoder.py").read_text().replace("seed 0", "seed 1"))
    sys.modules.pop("my_encoder")
    check_refused(coreset("embed", "--model", "encoder:colours", *BAD, cwd=place), 7, "weights")


def test_other_weights_are_noticed_without_an_identity(place: Path, own: Path) -> None:
    program = (own / "my_encoder.py").read_text().replace("    identity =", "    unread =")
    for seed, code in ((0, 0), (0, 0), (7, 7)):
        (own / "my_encoder.py").write_text(program.replace("manual_seed(0)", f"manual_seed({seed})"))
        sys.modules.pop("my_encoder", None)
        loading._loaded.cache_clear()
        said = coreset("embed", "--model", "encoder:colours", *BAD, cwd=place)
        assert said.code == code, said.err
        assert "nothing will notice" not in said.err
    check_refused(said, 7, "weights")


def test_half_a_batch_is_tried_once_and_recorded(place: Path, own: Path) -> None:
    flags = ("embed", "--model", "encoder:greedy", *BAD)
    said = done(*flags, "--batch-size", "8", cwd=place)
    assert "a batch of 8 does not fit into the memory; 4 is tried and recorded" in said.err
    recorded = plan(place)["params"]
    assert (recorded["batch_size"], recorded["fitting_batch"]) == (8, 4)
    before = contents(place / "run")
    assert "does not fit" not in done(*flags, "--batch-size", "8", cwd=place).err
    check_equal(place / "run", before)
    check_refused(coreset(*flags, "--batch-size", "16", "--run", "b", cwd=place), 5, "batch of 8", "--batch-size")
    assert not (place / "b/rows/plan.json").exists()


@pytest.mark.parametrize(
    ("name", "says"),
    [("colour", "did you mean encoder:colours"), ("zzz", "no installed package"), ("absent", "Absent")],
)
def test_an_entry_point_that_is_not_there_is_refused(place: Path, own: Path, name: str, says: str) -> None:
    check_refused(coreset("embed", "--model", f"encoder:{name}", *BAD, cwd=place), 3, says)


@pytest.mark.parametrize(("device", "gpus"), [("cpu", 0), ("cuda", 1), ("cuda:1", 1)])
def test_a_task_asks_for_a_device_where_it_embeds_on_one(device: str, gpus: float) -> None:
    needs = needs_of(Choice("ViT-B-32", None, False, device, "float32", 8, 3))
    assert (needs.gpus, needs.threads) == (gpus, 3)
