"""`coreset explain` as a person meets it: keys, words, pictures, pages, graphs, and text that means harm."""

from __future__ import annotations

import base64
import html.parser
import io
import json
import re
import shutil
import unicodedata
from pathlib import Path

import networkx as nx
import pytest
from command import Said, check_refused, coreset, done
from folders import random_vectors, write_clip_retrieval
from PIL import Image
from shards import pair, recipe, write_shard

import coreset as package
from coreset.cli.show import one_line
from coreset.results.thumbnails import IMPORTED

HOSTILE = {
    "markup": "<script>alert(1)</script><img src=x onerror=alert(2)>",
    "attribute": "\"' onmouseover='alert(3)' x=\"",
    "template": "{{ 7*7 }}{% for x in y %}${8*8}",
    "escape": "\x1b[2J\x1b]0;owned\x07\x1b]8;;http://e.x\x07link\x1b_Gf=100;AAAA\x1b\\",
    "right to left": "abc\u202egnp.exe\u2066\u2069\u200f",
    "null and bell": "a\x00b\x07c\x9bd\x7f",
    "lines": "one\r\ntwo\u2028three\u2029four\tfive",
    "not xml": "a\ufffe\uffffb]]>&#0;&lt;",
    "64 KB": "long " * 13_107,
}
NO_TERMINAL = ("TMUX", "TERM_PROGRAM", "KITTY_WINDOW_ID", "LC_TERMINAL", "TERM")


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory, clip: Path) -> Path:
    """A finished run whose captions and urls mean harm; each picture twice, so that there are components."""
    folder = tmp_path_factory.mktemp("hostile")
    samples = []
    for number, (name, text) in enumerate(HOSTILE.items()):
        for copy in range(2):
            fields = json.dumps({"url": text[:2000]}).encode()
            samples.append({**pair(f"{name}-{copy}", number, copy), "txt": text.encode(), "json": fields})
    write_shard(folder / "shards/00000.tar", samples)
    (folder / "coreset.toml").write_text(recipe(clip, clusters=1, n=2))
    done("run", cwd=folder)
    return folder


@pytest.fixture(autouse=True)
def no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in NO_TERMINAL:
        monkeypatch.delenv(name, raising=False)


def key_with(folder: Path, fate: str) -> str:
    table = package.rows_with_fate(str(folder / "run"))
    return next(row["key"] for row in table.to_pylist() if row["fate"] == fate)


class Page(html.parser.HTMLParser):
    """The tags of a page with their attributes, and its text."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note a tag."""
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        """Note text."""
        self.text += data

    @property
    def pictures(self) -> list[Image.Image]:
        """The pictures of the page, which all stand in it."""
        sources = [str(said["src"]) for tag, said in self.tags if tag == "img"]
        assert all(source.startswith("data:image/jpeg;base64,") for source in sources)
        return [Image.open(io.BytesIO(base64.b64decode(source.partition(",")[2]))) for source in sources]


# What a person sees


@pytest.mark.parametrize("fate", ["kept", "duplicate", "text rank too high", "centroid rank too low", "not sampled"])
def test_a_fate_is_said_in_one_line(undisturbed: Path, fate: str) -> None:
    key = key_with(undisturbed, fate)
    lines = done("explain", key, cwd=undisturbed).out.splitlines()
    assert lines[0] == key
    assert lines[1].startswith(f"  {fate}")
    told = json.loads(done("explain", key, "--json", cwd=undisturbed).out)[0]
    assert (told["key"], told["fate"], told["row"]["key"]) == (key, fate, key)
    assert (told["chain"] is None) == (fate != "duplicate")
    assert [rank["window"] for rank in told["ranks"]] == [
        line.strip()[:16].strip()
        for line in lines
        if "of" in line and line.strip().startswith(("text r", "centroid r", "sam"))
    ]


def test_quarantined_samples_have_their_reason(undisturbed: Path) -> None:
    refused = package.quarantined(str(undisturbed / "run"))
    for entry in refused:
        for name in (entry["key"], f"{entry['source']}/{entry['key']}"):
            said = done("explain", name, cwd=undisturbed).out
            assert f"quarantined: {entry['reason']}" in said
            assert f"{entry['source']}, sample {entry['source_row']:,}" in said


def test_excluded_rows_are_known(finished: Path) -> None:
    key = key_with(finished, "kept")
    (finished / "list.txt").write_text(f"{key}\n")
    done("run", "--max-bad", "10", cwd=finished)
    done("dedup", "--exclude", "list.txt", "--max-bad", "10", cwd=finished)
    said = done("explain", key, cwd=finished).out
    assert "excluded: a list of --exclude" in said
    done("sample", "--max-bad", "10", cwd=finished)
    assert json.loads(done("explain", key, "--json", cwd=finished).out)[0]["fate"] == "excluded"


def test_words_of_captions_lead_to_a_list(undisturbed: Path) -> None:
    said = done("explain", "A RED square", cwd=undisturbed).out
    rows = [
        row for row in package.rows_with_fate(str(undisturbed / "run")).to_pylist() if "red square" in row["caption"]
    ]
    assert said.startswith("A RED square is no key, but in these captions:")
    assert all(f"  {row['key']}  {row['fate']}  {row['caption']}\n" in said for row in rows)
    assert said.count("\n") == len(rows) + 2
    told = json.loads(done("explain", "a", "--json", cwd=undisturbed).out)[0]
    assert (len(told["rows"]), told["is_cut"]) == (20, True)
    only = next(row for row in rows if sum(row["caption"] in other["caption"] for other in rows) == 1)
    assert done("explain", only["caption"].upper(), cwd=undisturbed).out.splitlines()[0] == only["key"]


@pytest.mark.parametrize(
    ("slip", "meant"),
    [("00000001", "000000010"), ("0000000010", "000000010"), ("00000O010", "000000010"), ("000010015", "000001015")],
)
def test_an_unknown_key_suggests_its_neighbours(undisturbed: Path, slip: str, meant: str) -> None:
    said = coreset("explain", slip, cwd=undisturbed)
    check_refused(said, 3, f"{slip} is no key of run and in no caption; the nearest keys are 0000", meant)


# Pages and graphs


def test_a_page_shows_the_chain_and_the_component(undisturbed: Path, tmp_path: Path) -> None:
    key = key_with(undisturbed, "duplicate")
    run = package.open_run(str(undisturbed / "run"))
    chain = run.why(key).chain
    assert chain is not None
    done("explain", key, "--html", str(tmp_path / "a.html"), cwd=undisturbed)
    done("explain", key, "--html", str(tmp_path / "b.html"), cwd=undisturbed)
    assert (tmp_path / "a.html").read_bytes() == (tmp_path / "b.html").read_bytes()
    page = Page((tmp_path / "a.html").read_text())
    pictures = page.pictures
    assert len(pictures) == len(chain.rows) + run.component(key).num_rows
    assert {picture.format for picture in pictures} == {"JPEG"}
    assert all(f"{cosine:.4f}" in page.text for cosine in chain.cosines)
    policy = next(said["content"] for tag, said in page.tags if said.get("http-equiv"))
    assert policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    assert {tag for tag, _ in page.tags}.isdisjoint({"script", "link", "iframe", "a", "form", "object", "svg"})


def test_a_graph_can_be_read_back(undisturbed: Path, tmp_path: Path) -> None:
    keys = [key_with(undisturbed, "duplicate"), key_with(undisturbed, "kept")]
    done("explain", *keys, "--graph", str(tmp_path / "g.graphml"), cwd=undisturbed)
    graph = nx.read_graphml(tmp_path / "g.graphml")
    run = package.open_run(str(undisturbed / "run"))
    wanted = {row["key"]: row for key in keys for row in run.component(key).to_pylist()}
    assert {said["key"]: said["fate"] for _, said in graph.nodes.data()} == {
        k: row["fate"] for k, row in wanted.items()
    }
    assert {said["caption"] for _, said in graph.nodes.data()} == {row["caption"] for row in wanted.values()}
    edges = {frozenset(graph.nodes[end]["key"] for end in edge[:2]): edge[2] for edge in graph.edges.data("cosine")}
    for edge, cosine in run.graph(keys[0]).edges.items():
        assert edges.pop(frozenset(edge)) == cosine["cosine"]


# Text that means harm


def hostile_outputs(folder: Path, place: Path) -> tuple[Said, str, str]:
    keys = package.rows_with_fate(str(folder / "run"))["key"].to_pylist()
    files = ["--html", str(place / "h.html"), "--graph", str(place / "h.graphml")]
    said = done("explain", *keys, *files, cwd=folder)
    return said, (place / "h.html").read_text(), (place / "h.graphml").read_text()


def test_captions_that_mean_harm_are_shown_as_text(hostile: Path, tmp_path: Path) -> None:
    assert package.rows_with_fate(str(hostile / "run")).num_rows == 2 * len(HOSTILE)
    said, page, graph = hostile_outputs(hostile, tmp_path)
    for text in (said.out, said.err):
        assert {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs"}} <= {"\n"}
    assert max(map(len, said.out.splitlines())) < 1000
    assert "(65,535 characters)" in said.out
    parsed = Page(page)
    for name in ("markup", "attribute", "template", "64 KB"):
        assert HOSTILE[name] in parsed.text
    allowed = {"src", "alt", "class", "scope", "lang", "charset", "http-equiv", "content", "name"}
    assert {name for _, said in parsed.tags for name in said} <= allowed
    assert not re.search("[\0-\x08\x0b\x0c\x0e-\x1f\ufffe\uffff]", page + graph)
    captions = {node["caption"] for _, node in nx.parse_graphml(graph).nodes.data()}
    assert {HOSTILE["markup"], HOSTILE["template"], HOSTILE["64 KB"]} <= captions


def test_lists_and_errors_and_json_are_plain_too(hostile: Path) -> None:
    for said in (
        done("explain", "<script>", cwd=hostile),
        done("explain", "owned", "--json", cwd=hostile),
        coreset("explain", "\x1b[31m\u202ered", cwd=hostile),
    ):
        text = said.out + said.err
        assert {char for char in text if unicodedata.category(char) in {"Cc", "Cf", "Cs"}} <= {"\n"}
    told = json.loads(done("explain", "null and bell-0", "--json", cwd=hostile).out)
    assert told[0]["row"]["caption"] == HOSTILE["null and bell"]


@pytest.mark.parametrize("text", ["", "a", "a b", "x" * 301, "\u202e" * 500, "word " * 100])
def test_one_line_says_what_it_leaves_out(text: str) -> None:
    line = one_line(text, 300)
    assert len(line) <= 330
    assert (line == " ".join(text.split())) or f"({len(text):,} characters)" in line or "\u202e" in text


# Pictures


@pytest.mark.parametrize(
    ("environment", "pattern"),
    [
        ({"KITTY_WINDOW_ID": "1"}, "\x1b_G(?:a=T,f=100,q=2,)?m=[01];([^\x1b]*)\x1b\\\\"),
        ({"TERM_PROGRAM": "WezTerm"}, "\x1b]1337;File=inline=1;size=\\d+;preserveAspectRatio=1:([^\x07]*)\x07"),
    ],
)
def test_a_terminal_gets_pictures_of_our_own_making(
    hostile: Path, monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], pattern: str
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    key = "escape-0"
    shown = done("explain", key, "--pictures", cwd=hostile).out
    image = Image.open(io.BytesIO(base64.b64decode("".join(re.findall(pattern, shown)), validate=True)))
    assert (image.format, image.height) == ("PNG", 96)
    assert re.sub(pattern + "\n?", "", shown) == done("explain", key, "--no-pictures", cwd=hostile).out
    assert "\x1b" not in done("explain", key, cwd=hostile).out  # no terminal here: nothing is shown unasked


def test_pictures_that_nothing_can_show_are_refused(hostile: Path) -> None:
    check_refused(coreset("explain", "escape-0", "--pictures", cwd=hostile), 2, "--html")


def test_pictures_that_are_gone_leave_placeholders(finished: Path) -> None:
    key = key_with(finished, "duplicate")
    done("embed", "--max-bad", "10", cwd=finished)  # the copy's own shards from here on
    (finished / "shards").rename(finished / "moved")
    said = done("explain", key, "--html", "p.html", cwd=finished)
    assert re.search(
        r"^\d+ picture\(s\) cannot be shown: .*0000\d.tar cannot be read: No such file", said.out, re.MULTILINE
    )
    page = Page((finished / "p.html").read_text())
    assert page.pictures == []
    assert page.text.count("no picture") >= 2
    (finished / "moved").rename(finished / "shards")
    for tar in (finished / "shards").glob("*.tar"):
        tar.write_bytes(b"something else" * 10_000)
    assert "is not what it was (not_a_picture)" in done("explain", key, "--html", "p.html", cwd=finished).out


def test_imported_runs_have_no_pictures(tmp_path: Path) -> None:
    write_clip_retrieval(tmp_path / "vectors", random_vectors(60))
    done("import", "vectors", cwd=tmp_path)
    done("dedup", "--clusters", "2", cwd=tmp_path)
    undecided = next(iter(package.quarantined(str(tmp_path / "run"))), None)
    assert undecided is None
    keys = [f"{number:09d}" for number in range(60)]
    told = json.loads(done("explain", *keys, "--json", cwd=tmp_path).out)
    assert {entry["fate"] for entry in told} == {"duplicate", "not decided yet"}
    assert "`coreset sample` decides the rest" in done("explain", *keys, cwd=tmp_path).out
    done("sample", "-n", "3", "--allow-fewer", cwd=tmp_path)
    said = done("explain", *keys[:6], "--html", "p.html", cwd=tmp_path).out
    assert said.count(IMPORTED) == 1
    assert IMPORTED in Page((tmp_path / "p.html").read_text()).text
    shutil.rmtree(tmp_path / "run/clusters")
    key = next(entry["key"] for entry in told if entry["fate"] == "duplicate")
    said = done("explain", key, cwd=tmp_path).out
    assert "The chain to the kept row cannot be found: run/clusters is not what run/dedup was made from" in said
    check_refused(coreset("explain", key, "--graph", "g.graphml", cwd=tmp_path), 3, "run `coreset dedup` first")


def test_what_is_refused(undisturbed: Path, tmp_path: Path) -> None:
    check_refused(coreset("explain", "000000000", "--run", "none", cwd=undisturbed), 3, "coreset dedup")
    check_refused(coreset("explain", " ", cwd=undisturbed), 2, "is empty")
    check_refused(coreset("explain", "a\udcff", cwd=undisturbed), 2, "is not UTF-8")
    check_refused(coreset("explain", "000000000", "--html", "a.htm", cwd=undisturbed), 2, "a.htm must end in .html")
    check_refused(coreset("explain", "000000000", "--graph", "a.gml", cwd=undisturbed), 2, "must end in .graphml")
    page = str(tmp_path / "p.html")
    check_refused(coreset("explain", "a", "--html", page, cwd=undisturbed), 3, "name a key")
    refused = package.quarantined(str(undisturbed / "run"))[0]["key"]
    graph = str(tmp_path / "g.graphml")
    check_refused(coreset("explain", refused, "--graph", graph, cwd=undisturbed), 3, "is in a component")
    assert list(tmp_path.iterdir()) == []
