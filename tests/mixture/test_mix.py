"""A mixture holds the records that its recipe says, byte for byte, and every other one is counted."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import xxhash
from command import check_refused, coreset, done
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mixtures import instruction, record, write_json

from coreset.engine import files
from coreset.engine.errors import CoresetError, InputError, UsageError
from coreset.mixture.checks import REASONS, wrong_with
from coreset.mixture.mix import Mixed, mix
from coreset.mixture.recipe import parsed_mixture, read_mixture

ROOT = Path(__file__).resolve().parents[2]


def mixed(folder: Path, recipe: str) -> tuple[Mixed, list[Any]]:
    found = mix(parsed_mixture(recipe, str(folder)), str(folder / "out.json"))
    return found, json.loads((folder / "out.json").read_bytes())


def digest(use: str, source: str, name: str, nth: int, seed: int) -> int:
    """The order that decides, as the docs say it."""
    hashed = xxhash.xxh3_128_intdigest(name.encode())
    halves = (hashed >> 64).to_bytes(8, "little") + (hashed % 2**64).to_bytes(8, "little")
    text = f"{use}\0{source}\0".encode() + halves + nth.to_bytes(8, "little")
    return xxhash.xxh3_64_intdigest(text, seed)


def expected(sources: dict[str, list[Any]], n: dict[str, int], first: bool, shuffled: bool, seed: int) -> list[Any]:
    """The slow way: everything in lists."""
    seen: set[str] = set()
    taken = []
    for name, records in sources.items():
        counts: Counter[str] = Counter()
        own = []
        for value in records:
            keyed = (name, value["id"], counts[value["id"]], value)
            counts[value["id"]] += 1
            if not (first and value["id"] in seen):
                own.append(keyed)
            seen.add(value["id"])
        if n[name]:
            least = sorted(own, key=lambda entry: digest("draw", *entry[:3], seed))[: n[name]]
            own = [entry for entry in own if entry in least]
        taken += own
    if shuffled:
        taken.sort(key=lambda entry: digest("order", *entry[:3], seed))
    return [value for *_, value in taken]


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_a_mixture_is_what_the_slow_way_gives(tmp_path: Path, data: Any) -> None:
    first, shuffled = data.draw(st.booleans()), data.draw(st.booleans())
    seed = data.draw(st.integers(0, 3))
    sources, n, recipe = {}, {}, [f'order = "{"shuffled" if shuffled else "listed"}"', f"seed = {seed}"]
    recipe.append(f'duplicates = "{"first" if first else "keep"}"')
    seen: set[str] = set()
    for name in ("a", "b"):
        ids = data.draw(st.lists(st.sampled_from(["1", "2", "3", "4", "5", "é"]), min_size=1, max_size=8))
        sources[name] = [{**record(one, at % 3), "at": at} for at, one in enumerate(ids)]
        left = len({*ids} - seen) if first else len(ids)
        seen |= {*ids}
        n[name] = data.draw(st.integers(0, left))
        write_json(tmp_path / f"{name}.json", sources[name], data.draw(st.sampled_from([None, 2])))
        recipe.append(f'[source.{name}]\npath = "{name}.json"\nn = {n[name]}\nseed = {seed}')
    found, values = mixed(tmp_path, "\n".join(recipe))
    assert values == expected(sources, n, first, shuffled, seed)
    assert found.records == len(values)
    assert found.text_only == sum("image" not in value for value in values)
    assert found.shared_ids == len(values) - len({value["id"] for value in values})


def test_records_are_copied_byte_for_byte(tmp_path: Path) -> None:
    turns = '[{"from":"human","value":"\\u00e9 \\ud800"},{"from":"gpt","value":"1e5"}]'
    content = f'[ {{"id":7,  "conversations":{turns},"x":1.50}}]'
    (tmp_path / "a.json").write_text(content)
    mixed(tmp_path, '[source.a]\npath = "a.json"')
    assert (tmp_path / "out.json").read_text() == f"[\n{content[2:-1]}\n]\n"
    assert not (tmp_path / "out.rejected.jsonl").exists()


def test_a_mixture_in_a_store_has_the_same_bytes(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [record(f"{number}") for number in range(9)])
    recipe = '[source.a]\npath = "a.json"\nn = 4\n'
    mixed(tmp_path, recipe)
    mix(parsed_mixture(recipe, str(tmp_path)), "memory://mixtures/out.json")
    assert files.read_bytes("memory://mixtures/out.json") == (tmp_path / "out.json").read_bytes()
    files.write_bytes("memory://mixtures/mix.toml", recipe.encode())
    files.write_bytes("memory://mixtures/a.json", (tmp_path / "a.json").read_bytes())
    mix(read_mixture("memory://mixtures/mix.toml"), str(tmp_path / "second.json"))
    assert (tmp_path / "second.json").read_bytes() == (tmp_path / "out.json").read_bytes()
    with pytest.raises(UsageError, match="is the file of source"):
        mix(read_mixture("memory://mixtures/mix.toml"), "memory://mixtures/a.json")


def test_bunny(tmp_path: Path) -> None:
    """The paper's mixture, in small: text of one kind replaced by another."""
    pictures = [record(f"{number // 3:012d}") for number in range(63)]
    write_json(tmp_path / "SVIT_mix_665K.json", [*pictures, *(record(f"x{n}_0", 0, 3) for n in range(4))])
    write_json(tmp_path / "alpaca_evol_instruct_70k.json", [instruction(number) for number in range(7)])
    (tmp_path / "mix.toml").write_text((ROOT / "pipelines" / "bunny_695k.toml").read_text())
    said = done("mix", "mix.toml", "bunny.json", cwd=tmp_path)
    assert "text only: 7 of 70 records, 10.0 %" in said.out
    assert "ids: 42 records have the id of one before them" in said.out
    values = json.loads((tmp_path / "bunny.json").read_bytes())
    assert [value for value in values if "image" not in value and not value["id"].startswith("wizardlm_")] == []
    told = json.loads(done("mix", "mix.toml", "again.json", "--json", cwd=tmp_path).out)
    assert (tmp_path / "again.json").read_bytes() == (tmp_path / "bunny.json").read_bytes()
    assert told["records"] == 70
    assert told["sources"][0] == {
        "name": "svit",
        "read": 67,
        "left_out": 4,
        "rejected": 0,
        "repeated": 0,
        "not_drawn": 0,
        "taken": 63,
        "text_only": 0,
    }
    turns = next(value for value in values if value["id"] == "wizardlm_0000003")["conversations"]
    assert turns == [{"from": "human", "value": "do 3"}, {"from": "gpt", "value": "done 3"}]


def test_filters(tmp_path: Path) -> None:
    records = [
        record(f"{kind}_{number}", images) for kind in ("coco", "vg") for number in range(3) for images in (0, 1)
    ]
    write_json(tmp_path / "a.json", records)

    def left(what: str) -> list[tuple[str, bool]]:
        _, values = mixed(tmp_path, f'order = "listed"\n[source.a]\npath = "a.json"\n{what}')
        return [(value["id"], "image" in value) for value in values]

    both = [(value["id"], "image" in value) for value in records]
    assert left("") == both
    assert left('ids = ["coco_*", "vg_[01]"]\nimages = "with"') == [
        entry for entry in both if entry[1] and entry[0] != "vg_2"
    ]
    assert left('images = "without"\nexclude = {ids = "vg_*"}') == [(f"coco_{number}", False) for number in range(3)]
    assert left('exclude = {ids = "vg_*", images = "with"}') == [
        entry for entry in both if not (entry[0].startswith("vg") and entry[1])
    ]


GOOD = record("good")
HUMAN, GPT = GOOD["conversations"]
BAD: dict[str, list[Any]] = {
    "no_object": [None, 3, "text", [GOOD]],
    "no_id": [{**GOOD, "id": None}, {**GOOD, "id": ""}, {**GOOD, "id": 1.5}, {"conversations": [HUMAN, GPT]}],
    "no_conversations": [{"id": "a"}, {**GOOD, "conversations": []}, {**GOOD, "conversations": {"from": "human"}}],
    "bad_turn": [
        {**GOOD, "conversations": ["hi", "ho"]},
        {**GOOD, "conversations": [HUMAN, {"from": "gpt"}]},
        {**GOOD, "conversations": [HUMAN, {"from": "gpt", "value": 5}]},
        {**GOOD, "conversations": [{"role": "user", "content": "hi"}, GPT]},
    ],
    "not_alternating": [
        {**GOOD, "conversations": [HUMAN]},
        {**GOOD, "conversations": [GPT, HUMAN]},
        {**GOOD, "conversations": [HUMAN, GPT, HUMAN]},
        {**GOOD, "conversations": [HUMAN, HUMAN]},
        {**GOOD, "conversations": [{"from": "system", "value": "be"}, HUMAN, GPT]},
    ],
    "empty_turn": [{**GOOD, "conversations": [HUMAN, {"from": "gpt", "value": " \n"}]}],
    "bad_image": [{**GOOD, "image": image} for image in (None, "", 5, [""], [None], {"path": "a"})],
    "image_count": [
        {**GOOD, "image": ["a", "b"]},
        {**record("a", 0), "image": "a.jpg"},
        {"id": "a", "conversations": [HUMAN, GPT]},
        {**GOOD, "conversations": [HUMAN, {"from": "gpt", "value": "an <image> tag"}]},
    ],
}


def test_what_cannot_be_used_is_counted_and_listed(tmp_path: Path) -> None:
    bad = [(reason, value) for reason, values in BAD.items() for value in values]
    assert BAD.keys() == REASONS.keys()
    write_json(tmp_path / "a.json", [GOOD, *(value for _, value in bad), record("2", 2, 2), record(3, 0)])
    (tmp_path / "mix.toml").write_text('order = "listed"\n[source.a]\npath = "a.json"')
    said = coreset("mix", "mix.toml", "out.json", cwd=tmp_path)
    check_refused(said, 4, f"{len(bad)} of {len(bad) + 3} records", "--max-bad 1 %", "out.rejected.jsonl")
    assert [value["id"] for value in json.loads((tmp_path / "out.json").read_bytes())] == ["good", "2", 3]
    entries = [json.loads(line) for line in (tmp_path / "out.rejected.jsonl").read_text().splitlines()]
    assert [(entry["reason"], entry["record"]) for entry in entries] == [
        (reason, number) for number, (reason, _) in enumerate(bad, 1)
    ]
    content = (tmp_path / "a.json").read_bytes()
    for entry, (_, value) in zip(entries, bad, strict=True):
        assert content[entry["offset"] :].startswith(json.dumps(value, ensure_ascii=False).encode())
    told = json.loads(done("mix", "mix.toml", "out.json", "--json", "--max-bad", "95", cwd=tmp_path).out)
    assert told["reasons"] == {reason: len(values) for reason, values in BAD.items()}


def test_instructions(tmp_path: Path) -> None:
    bad = [None, {"output": "x"}, {"instruction": "a"}, {"instruction": "a", "output": "b", "input": 5}]
    bad += [{"instruction": "a", "output": " "}, {"instruction": "see <image>", "output": "b"}]
    write_json(tmp_path / "a.json", [{"instruction": "😀", "input": "", "output": "b"}, *bad, instruction(6)])
    found, values = mixed(tmp_path, 'order = "listed"\n[source.w]\npath = "a.json"\nform = "instructions"')
    assert [value["id"] for value in values] == ["w_0000000", "w_0000007"]
    assert values[0]["conversations"][0]["value"] == "😀"
    assert (tmp_path / "out.json").read_bytes().isascii()
    assert found.reasons == {
        "no_object": 1,
        "no_conversations": 1,
        "bad_turn": 2,
        "empty_turn": 1,
        "image_count": 1,
    }
    assert all(wrong_with(value) is None for value in values)


def test_every_reason_is_documented() -> None:
    page = (ROOT / "docs" / "mixing.md").read_text()
    for reason in REASONS:
        assert f"| `{reason}` |" in page


def test_duplicates(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [record("1"), record("2")])
    write_json(tmp_path / "b.json", [record("3"), record("2"), record(1)])
    recipe = '[source.a]\npath = "a.json"\n[source.b]\npath = "b.json"\n'
    with pytest.raises(InputError, match=r"source\.b: the id of record 1 came before, and so did 1 others"):
        mixed(tmp_path, f'duplicates = "refuse"\n{recipe}')
    assert not (tmp_path / "out.json").exists()
    found, values = mixed(tmp_path, f'duplicates = "first"\norder = "listed"\n{recipe}')
    assert [value["id"] for value in values] == ["1", "2", "3"]
    assert [source.repeated for source in found.sources] == [0, 2]


def test_a_draw_is_no_prefix_of_the_order(tmp_path: Path) -> None:
    """One seed for both must not bring the drawn records to the front."""
    write_json(tmp_path / "a.json", [record(f"a{number}") for number in range(400)])
    write_json(tmp_path / "b.json", [record(f"b{number}") for number in range(40)])
    _, values = mixed(tmp_path, '[source.a]\npath = "a.json"\nn = 40\n[source.b]\npath = "b.json"')
    front = [value["id"][0] for value in values[:40]]
    assert 8 < front.count("a") < 32


@pytest.mark.parametrize(
    ("recipe", "code", "said"),
    [
        ("", 2, "no source is named"),
        ("[sorce.a]", 2, "sorce is not known; did you mean source?"),
        ("[source.a]\nn = 5", 2, "source.a has no path"),
        ('[source.a]\npath = "a.json"\nimages = "wihtout"', 2, "did you mean without?"),
        ('[source.a]\npath = "a.json"\nn = -1', 2, "source.a.n = -1 must be a whole number"),
        ('[source.a]\npath = "a.json"\nids = [1]', 2, "source.a.ids = [1] must be a list of texts"),
        ('[source.a]\npath = "a.json"\nexclude = {}', 2, "would leave everything out"),
        ('[source.a]\npath = "a.json"\nexclude = {image = "with"}', 2, "source.a.exclude.image is not known"),
        ('order = "random"\n[source.a]\npath = "a.json"', 2, "choose one of shuffled, listed"),
        ("source = 5", 2, "source must be a section"),
        ("[source", 2, "not valid TOML"),
        ('[source.a]\npath = "a.json"\nn = 3', 3, "n = 3, but only 2 records are left"),
        ('[source.a]\npath = "b.json"', 3, "does not exist"),
        ('[source.a]\npath = "."', 3, "is a folder"),
        ('[source.a]\npath = "empty.json"', 3, "has no records"),
        ('[source.a]\npath = "a.json"\nids = "zz*"', 3, "nothing is left"),
    ],
)
def test_what_is_refused(tmp_path: Path, recipe: str, code: int, said: str) -> None:
    write_json(tmp_path / "a.json", [record("1"), record("2")])
    write_json(tmp_path / "empty.json", [])
    (tmp_path / "mix.toml").write_text(recipe)
    check_refused(coreset("mix", "mix.toml", "out.json", cwd=tmp_path), code, said)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "empty.json", "mix.toml"]


def test_places_that_are_refused(tmp_path: Path) -> None:
    write_json(tmp_path / "a.json", [record("1")])
    (tmp_path / "mix.toml").write_text('[source.a]\npath = "a.json"')
    check_refused(coreset("mix", "mix.toml", "out.jsonl", cwd=tmp_path), 2, "must end in .json")
    check_refused(coreset("mix", "mix.toml", "a.json", cwd=tmp_path), 2, "is the file of source.a")
    check_refused(coreset("mix", "none.toml", "out.json", cwd=tmp_path), 3, "none.toml does not exist")
    (tmp_path / "mix.toml").write_bytes(b"# \xff")
    check_refused(coreset("mix", "mix.toml", "out.json", cwd=tmp_path), 2, "not UTF-8")


def test_a_source_that_changes_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    location = write_json(tmp_path / "a.json", [record("1"), record("2")])

    class Changing:
        """A progress display that changes the source between the passes."""

        def start(self, stage: str, parts: int, done: int) -> None:
            if stage == "write":
                write_json(location, [record("2"), record("1")])

        def advance(self, counts: object) -> None: ...
        def finish(self, counts: object) -> None: ...
        def reuse(self, stage: str, counts: object) -> None: ...
        def redo(self, stage: str, changes: object) -> None: ...
        def note(self, text: str) -> None: ...

    mixture = parsed_mixture('[source.a]\npath = "a.json"', str(tmp_path))
    with pytest.raises(CoresetError, match="changed while it was read"):
        mix(mixture, str(tmp_path / "out.json"), Changing())
    assert [path.name for path in tmp_path.iterdir()] == ["a.json"]


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_json(tmp_path / "a.json", [record("1"), None])
    (tmp_path / "mix.toml").write_text('[source.a]\npath = "a.json"')
    monkeypatch.setenv("CORESET_FAULT", "write:3:enospc")
    monkeypatch.setattr("coreset.engine.faults._passages", {})
    check_refused(coreset("mix", "mix.toml", "out.json", cwd=tmp_path), 5, "No space left")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "mix.toml"]
