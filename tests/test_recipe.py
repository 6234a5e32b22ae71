"""Recipes: what is written can be read, what is not known is refused with the nearest name that is."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from coreset.demo import MODEL, RECIPE
from coreset.engine import files
from coreset.engine.errors import InputError, UsageError
from coreset.recipe import STAGES, Recipe, changed, parsed_recipe, read_recipe, recipe_text, settable

BAD = {
    "key": ("[dedup]\ntreshold = 1", "dedup.treshold is not known; did you mean threshold?"),
    "key of nothing like it": (
        "[dedup]\nxyz = 1",
        "dedup.xyz is not known; known are threshold, keep, seed, min_kept_cosine.",
    ),
    "section": ("[smaple]\nn = 1", "smaple is not known; did you mean sample?"),
    "top": ("inputs = []", "inputs is not known; did you mean input?"),
    "found out, not set": ('[embed]\nweights = "x"', "embed.weights is not known"),
    "section that is a value": ("dedup = 0.9", "dedup must be a section, [dedup]."),
    "input a number": ("input = 5", "input must be a list of paths."),
    "input of numbers": ("input = [5]", "input must be a list of paths."),
    "no toml": ("[dedup", "not valid TOML: "),
    "key twice": ("[dedup]\nseed = 1\nseed = 2", "not valid TOML: "),
    "nested too deep": ("a = " + "[" * 100_000, "not valid TOML: "),
    "text for a number": ('[sample]\nn = "5"', "sample.n = '5' must be int."),
    "a fraction for a count": ("[sample]\nn = 2.5", "sample.n = 2.5 must be int."),
    "truth for a number": ("[sample]\nn = true", "sample.n = True must be int."),
    "a number for truth": ("[embed]\nprefix_keys = 1", "embed.prefix_keys = 1 must be bool."),
    "a number for text": ("[embed]\nmodel = 1", "embed.model = 1 must be text."),
    "one of two numbers": ("[sample]\ntext_rank = [40]", "sample.text_rank = [40] must be two numbers"),
    "text of two numbers": ('[sample]\ntext_rank = ["40", 60]', "must be two numbers"),
    "one number of two": ("[sample]\ntext_rank = 40", "must be two numbers"),
    "window backwards": ("[sample]\ntext_rank = [60, 40]", "--text-rank 60 40 must be two percentages"),
    "window nan": ("[sample]\ntext_rank = [nan, 40]", "--text-rank nan 40 must be two percentages"),
    "threshold in percent": (
        "[dedup]\nthreshold = 86",
        "--threshold 86 must be above 0 and at most 1; did you mean 0.86",
    ),
    "seed below nothing": ("[sample]\nseed = -1", "--seed -1 must be at least 0"),
    "seed beyond the hash": (f"[dedup]\nseed = {2**64}", f"seed {2**64} must be at least 0 and below 2^64"),
    "seed beyond faiss": (f"[cluster]\nseed = {2**31}", f"seed {2**31} must be at least 0 and below {2**31}"),
    "no iterations": ("[cluster]\niterations = 0", "iterations 0 must be at least 1"),
    "threads beyond reason": ("[embed]\nthreads = 1000000000000", "threads 1000000000000 must be at least 0"),
    "clusters and centroids": ('[cluster]\nclusters = 2\ncentroids = "c.npy"', "exclude each other"),
}


@pytest.mark.parametrize(("text", "sentence"), BAD.values(), ids=BAD)
def test_what_is_wrong_is_one_sentence(text: str, sentence: str) -> None:
    with pytest.raises(UsageError, match=re.escape(sentence)) as error:
        parsed_recipe(text)
    assert "\n" not in str(error.value)


def test_the_file_is_named_in_front_of_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text("[dedup]\ntreshold = 1")
    with pytest.raises(UsageError, match=r"mine\.toml: dedup\.treshold is not known"):
        read_recipe(str(tmp_path / "mine.toml"))


def test_text_that_is_not_utf8_is_refused(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_bytes(b"input = '\xff'")
    with pytest.raises(UsageError, match="is not UTF-8 text"):
        read_recipe(str(tmp_path / "mine.toml"))


@pytest.mark.parametrize("name", ["nowhere.toml", "."])
def test_a_recipe_that_is_not_there_says_how_to_write_one(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match="does not exist; `coreset init"):
        read_recipe(str(tmp_path / name))


def test_nothing_said_is_the_paper() -> None:
    recipe = parsed_recipe("")
    assert recipe == Recipe()
    assert (recipe.embed.model, recipe.embed.pretrained) == ("ViT-L-14", "openai")
    assert recipe.dedup.threshold == 0.86
    assert (recipe.sample.text_rank, recipe.sample.centroid_rank, recipe.sample.n) == ((40, 60), (15, 35), 2_000_000)


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"])), max_size=4))
@example(['\x7f \u2028 \0 " \\ 猫'])
def test_what_is_written_can_be_read(patterns: list[str]) -> None:
    assert parsed_recipe(recipe_text(patterns)) == Recipe(input=tuple(patterns))


def test_every_parameter_that_is_written_has_its_meaning_beside_it() -> None:
    text = recipe_text(["a.tar"])
    for params in STAGES.values():
        for field in settable(params):
            assert re.search(rf"^(# )?{field.name} = .+  # {re.escape(field.metadata['help'])}$", text, re.MULTILINE)


@given(st.floats(0, 1, exclude_min=True), st.integers(1, 2**40), st.sampled_from(["median", "nearest", "farthest"]))
def test_values_come_as_they_were_said(threshold: float, n: int, keep: str) -> None:
    recipe = parsed_recipe(f'[dedup]\nthreshold = {threshold!r}\nkeep = "{keep}"\n[sample]\nn = {n}')
    assert (recipe.dedup.threshold, recipe.dedup.keep, recipe.sample.n) == (threshold, keep, n)


def test_whole_numbers_stand_for_fractions_where_those_are_meant() -> None:
    threshold = parsed_recipe("[dedup]\nthreshold = 1").dedup.threshold
    assert (threshold, type(threshold)) == (1.0, float)


def test_one_pattern_needs_no_list() -> None:
    assert parsed_recipe('input = "a.tar"').input == ("a.tar",)


def test_paths_start_from_the_folder_of_the_recipe(tmp_path: Path) -> None:
    (tmp_path / "weights.safetensors").touch()
    said = '[embed]\nmodel = "local-dir:clip"\npretrained = "weights.safetensors"\n[cluster]\ncentroids = "c.npy"'
    (tmp_path / "mine.toml").write_text(said)
    recipe = read_recipe(str(tmp_path / "mine.toml"))
    assert recipe.base == str(tmp_path)
    assert recipe.embed.model == f"local-dir:{tmp_path}/clip"
    assert recipe.embed.pretrained == f"{tmp_path}/weights.safetensors"
    assert recipe.cluster.centroids == f"{tmp_path}/c.npy"


def test_a_tag_of_weights_is_not_taken_for_a_path(tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[embed]\nmodel = "ViT-B-32"\npretrained = "laion2b_s34b_b79k"')
    embed = read_recipe(str(tmp_path / "mine.toml")).embed
    assert (embed.model, embed.pretrained) == ("ViT-B-32", "laion2b_s34b_b79k")


def test_flags_that_were_given_replace_what_the_recipe_says() -> None:
    params = parsed_recipe("[dedup]\nthreshold = 0.9\nseed = 3").dedup
    assert changed(params, threshold=None, keep=None) == params
    assert changed(params, threshold=0.5) == dataclasses.replace(params, threshold=0.5)
    assert changed(parsed_recipe("").embed, prefix_keys=False).prefix_keys is False


def test_the_demo_recipe_can_be_read_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert read_recipe(RECIPE).embed.model == MODEL


def test_a_recipe_in_a_store_starts_there() -> None:
    files.write_bytes("memory://recipes/laion.toml", b'input = ["shards/*.tar"]\n[cluster]\ncentroids = "c.npy"\n')
    found = read_recipe("memory://recipes/laion.toml")
    assert (found.base, found.cluster.centroids) == ("memory://recipes", "memory://recipes/c.npy")
    with pytest.raises(InputError, match="does not exist"):
        read_recipe("memory://recipes/other.toml")
