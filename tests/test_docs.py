"""The pages are true: blocks parse and run, commands exist, links lead somewhere."""

import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from docs.generator import anchor as heading_anchor
from insightface_cakd.cli import build
from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts.embedded.utils.utils_config import find_config
from insightface_cakd.recipe import find_recipe, parse_recipe
from tests.cli.command_tree import command_tree, commands_below
from tests.markdown_blocks import blocks as blocks_of
from tests.markdown_blocks import shell_lines

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("recipes/*.md"), *ROOT.glob("patches/*.md"), *ROOT.glob("docs/**/*.md")])
SOURCES = sorted(ROOT.glob("insightface_cakd/**/*.py"))


def blocks(page, *languages):
    return blocks_of(page.read_text(encoding="utf-8"), *languages)


def test_yaml_blocks_are_valid_recipes():
    faults = []
    for page in PAGES:
        for text in blocks(page, "yaml", "yml"):
            try:
                parse_recipe(yaml.safe_load(text), page.name)
            except CAKDError as error:
                faults.append(f"{page.name}: {error}")
    assert not faults, "\n".join(faults)


def run_blocks(page):
    """Run a page's Python blocks in one namespace, from top to bottom."""
    namespace = {"__name__": "printed"}
    for text in blocks(page, "python"):
        exec(compile(text, str(page), "exec"), namespace)


@pytest.mark.parametrize("page", [page for page in PAGES if blocks(page, "python")], ids=lambda page: page.stem)
def test_python_blocks_run_as_they_stand(page, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run_blocks(page)


def commands(page):
    """Return every shell command of a page as words, `torchrun ... -m insightface_cakd` included."""
    for line in shell_lines(page.read_text(encoding="utf-8")):
        for part in line.split(" && "):
            words = shlex.split(part, comments=True)
            yield [word.removeprefix(".venv/bin/") for word in words]


def inline_commands(text):
    """Return the commands between backticks."""
    return [shlex.split(found) for found in re.findall(r"`(cakd [^`{]+)`", text.replace("\n", " "))]


@pytest.fixture(scope="module")
def command_line():
    """The whole command line, whose commands parse their arguments and then do nothing."""
    root = get_command(build())
    for _, command in command_tree(root):
        command.callback = lambda *args, **kwargs: None
    return root


def test_commands_in_blocks_parse(command_line):
    faults = []
    for page in PAGES:
        for words in commands(page):
            if "insightface_cakd" in words:
                words = ["cakd", *words[words.index("insightface_cakd") + 1 :]]
            if words[:1] == ["cakd"]:
                try:
                    command_line.main(words[1:], prog_name="cakd", standalone_mode=False)
                except Exception as error:
                    faults.append(f"{page.name}: {' '.join(words)}: {error}")
    assert not faults, "\n".join(faults)


def test_jobs_and_recipes_in_blocks_exist():
    faults = []
    for page in PAGES:
        for words in commands(page):
            try:
                if words[:2] == ["cakd", "train"] and not words[2].endswith(".py") and "--host" not in words:
                    find_config(words[2])
                for before, word in pairwise(words):
                    if before == "--distill":
                        find_recipe(word)
            except CAKDError as error:
                faults.append(f"{page.name}: {error}")
    assert not faults, "\n".join(faults)


def test_make_targets_exist():
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    faults = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        named = [words[1] for words in commands(page) if words[:1] == ["make"]] + re.findall(r"`make ([\w-]+)`", text)
        faults += [f"{page.name}: make {target}" for target in sorted(set(named) - targets)]
    assert not faults, "\n".join(faults)


def test_commands_named_in_a_sentence_exist(command_line):
    """In pages, docstrings, help and error lines: the command is there, and so is each of its options."""
    faults = []
    for file in [*PAGES, *SOURCES]:
        for words in inline_commands(file.read_text(encoding="utf-8")):
            command, rest = command_line, words[1:]
            while rest and rest[0] in commands_below(command):
                command, rest = command.commands[rest[0]], rest[1:]
            known = {option for parameter in command.params for option in parameter.opts} | {"--help", "--version"}
            there = command is not command_line or not rest or rest[0] in ("...", "quickstart")
            if not there or not {word for word in rest if word.startswith("--")} <= known:
                faults.append(f"{file.relative_to(ROOT)}: {' '.join(words)}")
    assert not faults, "\n".join(faults)


def test_links_inside_the_repository_lead_somewhere():
    faults = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text(encoding="utf-8")):
            if not re.match(r"[a-z]+:", target) and not leads_somewhere(page, target):
                faults.append(f"{page.name}: {target}")
    assert not faults, "\n".join(faults)


def leads_somewhere(page, target):
    path, _, anchor = target.partition("#")
    linked = (page.parent / path) if path else page
    if not linked.exists() or not anchor:
        return linked.exists()
    heads = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
    return anchor in set(map(heading_anchor, heads))


def test_how_it_works_names_files_and_folders_that_are_there():
    tree = next(text for text in blocks(ROOT / "docs/how_it_works.md", "text") if text.startswith("insightface_cakd/"))
    folder = ROOT
    for line in tree.splitlines():
        names = line.strip().split("   ")[0].split()
        folder = ROOT if not line.startswith(" ") else ROOT / "insightface_cakd"
        assert all((folder / name).exists() for name in names), line
