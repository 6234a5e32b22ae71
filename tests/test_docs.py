"""The documents say what the code does: generated pages, links, command lines, recipes, reasons, exit codes."""

from __future__ import annotations

import ast
import importlib.util
import re
import shlex
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pytest
import typer.main

import coreset
from coreset.cli.commands import app
from coreset.engine.errors import CoresetError
from coreset.recipe import STAGES, settable

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/**/*.md")])
PACKAGE = Path(coreset.__file__).parent
GROUP = typer.main.get_command(app)
COMMANDS: dict[str, Any] = GROUP.commands  # type: ignore[attr-defined]
BLOCK = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
REASON_CALLS = {"BadSampleError", "BadPictureError", "BrokenShardError", "Reject"}
REASON = re.compile(r"[a-z0-9]+(_[a-z0-9]+)+")


def shown(page: Path) -> str:
    return str(page.relative_to(ROOT))


def test_generated_pages_are_current() -> None:
    spec = importlib.util.spec_from_file_location("docs_generate", ROOT / "docs" / "generate.py")
    assert spec
    assert spec.loader
    generate = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(generate)
    for name, text in generate.pages().items():
        assert (ROOT / "docs" / name).read_text() == text, f"docs/{name} is old: run `python docs/generate.py`"


def test_every_command_and_flag_is_documented() -> None:
    text = (ROOT / "docs" / "cli.md").read_text()
    sections = dict(re.findall(r"^## coreset (\w+)\n(.*?)(?=^## )", text, re.MULTILINE | re.DOTALL))
    assert sections.keys() == COMMANDS.keys()
    for name, command in COMMANDS.items():
        for parameter in command.params:
            if parameter.param_type_name == "option":
                for flag in (*parameter.opts, *parameter.secondary_opts):
                    assert re.search(rf"`[^`]*{flag}\b[^`]*`", sections[name]), f"{flag} of coreset {name}"


def anchors(page: Path) -> set[str]:
    """The names that headings get on a page: in lower case, spaces as dashes, nothing else but letters and digits."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", page.read_text()), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_links_lead_somewhere(page: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", BLOCK.sub("", page.read_text())):
        if re.match(r"https?://", link):
            continue
        name, _, anchor = link.partition("#")
        target = page.parent / name if name else page
        assert target.exists(), f"{shown(page)} links to {link}"
        if anchor:
            assert anchor in anchors(target), f"{shown(page)} links to {link}"


def command_lines(page: Path) -> Iterator[list[str]]:
    """The arguments of every `coreset ...` in a page's blocks of shell commands."""
    for language, block in BLOCK.findall(page.read_text()):
        if language not in {"bash", "sh", "console"}:
            continue
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.split(line.removeprefix("$ "), comments=True)
            start = 0
            for at, word in enumerate([*words, "&&"]):
                if word in {"&&", "||", ";", "|"}:
                    if words[start:at][:1] == ["coreset"]:
                        yield words[start + 1 : at]
                    start = at + 1


def parse(arguments: list[str]) -> None:
    """Parse a command line as the console script does, and run nothing."""
    context = GROUP.make_context("coreset", arguments[:1], resilient_parsing=True)
    if arguments[0] in COMMANDS:
        COMMANDS[arguments[0]].make_context(arguments[0], arguments[1:], parent=context)
    else:
        assert arguments in (["--version"], ["--help"]), f"coreset {shlex.join(arguments)}"


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_command_lines_parse(page: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CORESET_RUN", raising=False)
    for arguments in command_lines(page):
        parse(arguments)


@pytest.mark.parametrize("page", PAGES, ids=shown)
def test_commands_and_flags_in_sentences_exist(page: Path) -> None:
    parameters = [parameter for command in COMMANDS.values() for parameter in command.params]
    flags = {flag for parameter in parameters for flag in (*parameter.opts, *parameter.secondary_opts)}
    alone = {"--help", *(flag for parameter in GROUP.params for flag in parameter.opts)}
    for code in re.findall(r"`(coreset [^`]+|--[^`]+)`", BLOCK.sub("", page.read_text())):
        words = code.replace("`", "").split()
        for word in words:
            if re.match(r"--?[a-z]", word):
                assert re.split(r"[=,]", word)[0] in flags | alone, f"{shown(page)}: {code}"
        if words[0] == "coreset":
            assert words[1] in {*COMMANDS, *alone}, f"{shown(page)}: {code}"


def test_the_three_commands_are_in_the_readme() -> None:
    found = list(command_lines(ROOT / "README.md"))
    for line in (["embed"], ["dedup", "--threshold", "0.86"], ["sample", "-n", "2000000"], ["demo"]):
        assert line in found


def test_python_in_the_readme_uses_public_names() -> None:
    blocks = [block for language, block in BLOCK.findall((ROOT / "README.md").read_text()) if language == "python"]
    assert blocks
    for block in blocks:
        attributes = [node for node in ast.walk(ast.parse(block)) if isinstance(node, ast.Attribute)]
        named = {node.attr for node in attributes if ast.unparse(node.value) == "coreset"}
        assert named <= set(coreset.__all__)
        assert named


def test_bunny_is_the_defaults_with_sources() -> None:
    location = ROOT / "pipelines" / "bunny.toml"
    recipe = coreset.read_recipe(str(location))
    assert recipe == coreset.Recipe(input=("shards/*.tar",), base=str(location.parent))
    said = tomllib.loads(location.read_text())
    for name, params in STAGES.items():
        if name == "import":  # the paper begins with tars
            continue
        unsaid = {field.name for field in settable(params)} - said[name].keys()
        assert unsaid <= {"centroids", "exclude", "reuse"}, f"[{name}] does not say {unsaid}"
    for line in location.read_text().splitlines():
        if "=" in line and not line.startswith("#"):
            assert re.search(r"# (paper|scripts|coreset|LAION-2B)\b.*", line), line


def test_demo_recipe_is_the_packaged_one() -> None:
    assert (ROOT / "pipelines" / "demo.toml").read_text() == Path(coreset.DEMO_RECIPE).read_text()


def reasons_in_code() -> set[str]:
    """Every reason code in the package: first or third argument of what refuses, and the tables of such codes."""
    found: set[str] = set()
    for location in [PACKAGE / "embed.py", PACKAGE / "import_rows.py", *PACKAGE.glob("sources/*.py")]:
        for node in ast.walk(ast.parse(location.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REASON_CALLS:
                found |= texts(ast.Tuple(node.args[:1] if len(node.args) < 4 else node.args[2:3]))
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Dict):
                if getattr(node.targets[0], "id", "") in {"_SEVERAL", "_NOT_A_FILE", "_TOO_LARGE"}:
                    found |= texts(ast.Tuple(list(node.value.values)))
            elif isinstance(node, ast.Return) and isinstance(node.value, ast.Tuple) and location.name == "samples.py":
                found |= texts(ast.Tuple(node.value.elts[:1]))
            elif (
                isinstance(node, ast.Yield) and location.name == "import_rows.py" and isinstance(node.value, ast.Tuple)
            ):
                found |= texts(ast.Tuple(node.value.elts[1].elts[:1]))  # type: ignore[attr-defined]
            elif isinstance(node, ast.Assign) and isinstance(node.value, ast.IfExp):
                found |= texts(node.value) if getattr(node.targets[0], "id", "") == "reason" else set()
    return found


def texts(node: ast.AST) -> set[str]:
    """The string constants of an expression that look like a code."""
    constants = {part.value for part in ast.walk(node) if isinstance(part, ast.Constant)}
    return {text for text in constants if isinstance(text, str) and REASON.fullmatch(text)}


def test_every_reason_is_documented() -> None:
    page = (ROOT / "docs" / "failure-modes.md").read_text()
    documented = re.findall(r"^\| `(\w+)` \|", page.partition("## Exit codes")[0], re.MULTILINE)
    assert len(documented) == len(set(documented))
    assert set(documented) == reasons_in_code()


def test_every_exit_code_is_documented() -> None:
    page = (ROOT / "docs" / "failure-modes.md").read_text().partition("## Exit codes")[2]
    for error in CoresetError.__subclasses__():
        assert re.search(rf"^\| {error.exit_code} \|[^|]*`{error.__name__}`", page, re.MULTILINE), error
    readme = (ROOT / "README.md").read_text()
    for code in sorted({0, 130, *(error.exit_code for error in CoresetError.__subclasses__())}):
        assert re.search(rf"^\| {code} \|", readme, re.MULTILINE), code


def test_citation_names_this_version() -> None:
    text = (ROOT / "CITATION.cff").read_text()
    assert f"\nversion: {version('coreset')}\n" in text
    assert "arXiv:2402.11530" in text


def test_there_is_one_coreset() -> None:
    """Doctests and tests see the installed package, not a second copy of it under src/."""
    loaded = {name: getattr(module, "__file__", None) for name, module in sys.modules.items()}
    assert not [name for name in loaded if name.startswith("src.")]
    ours = {Path(file) for name, file in loaded.items() if file and name.partition(".")[0] == "coreset"}
    assert all(file.is_relative_to(PACKAGE) for file in ours)
