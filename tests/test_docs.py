"""The documentation is true: docstrings name what signatures have, README blocks parse and run, links lead somewhere."""

import builtins
import importlib
import inspect
import pkgutil
import re
import shlex
from itertools import pairwise
from pathlib import Path

import pytest
import torch
import yaml
from pydantic import BaseModel
from torch import nn
from typer.main import get_command

import insightface_cakd
from insightface_cakd.cli import build
from insightface_cakd.hosts.embedded.utils.utils_config import find_config
from insightface_cakd.losses.base import DistillLoss
from insightface_cakd.recipe import find_recipe, parse_recipe

ROOT = Path(__file__).resolve().parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("recipes/*.md"), *ROOT.glob("patches/*.md"), *ROOT.glob("docs/**/*.md")])
SOURCES = sorted(ROOT.glob("insightface_cakd/**/*.py"))
SECTION = re.compile(r"^(Args|Attributes|Edge cases|Raises|Returns|Shape|Source|Units|Yields|Examples?):", re.MULTILINE)
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)

every_page = pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))


def modules():
    names = [found.name for found in pkgutil.walk_packages(insightface_cakd.__path__, "insightface_cakd.")]
    return [insightface_cakd, *map(importlib.import_module, names)]


def public_things():
    """Return name -> public class, function or method that the package defines."""
    things = {}
    for module in modules():
        for name, value in vars(module).items():
            own = (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__
            if not own or name.startswith("_"):
                continue
            things[f"{module.__name__}.{name}"] = value
            members = vars(value).items() if inspect.isclass(value) else ()
            for member, method in members:
                function = getattr(method, "__func__", getattr(method, "fget", getattr(method, "func", method)))
                if not member.startswith("_") and inspect.isfunction(function):
                    things[f"{module.__name__}.{name}.{member}"] = function
    return things


THINGS = public_things()
every_thing = pytest.mark.parametrize("name", THINGS)


def section(thing, title):
    """Return the lines of a docstring's section, without their indent."""
    pieces = SECTION.split(inspect.cleandoc(thing.__doc__ or ""))
    return dict(zip(pieces[1::2], pieces[2::2], strict=True)).get(title)


def entries(text):
    """Return the names that stand before the colons of a section: `a: ...`, `a, b: ...`."""
    found = re.findall(r"^\*{0,2}(\w+(?:, \*{0,2}\w+)*):", inspect.cleandoc("\n" + text), re.MULTILINE)
    return [name.strip("* ") for names in found for name in names.split(",")]


def parameters(thing):
    if inspect.isclass(thing) and issubclass(thing, BaseModel):
        return list(thing.model_fields)
    signature = inspect.signature(thing.__init__ if inspect.isclass(thing) else thing)
    return [name for name in signature.parameters if name not in ("self", "cls", "_")]


def test_this_file_sees_the_names_of_a_docstring():
    def measure(rows, labels, far=1e-4):
        """Measure.

        Shape:
            rows: (B, D).
        Args:
            labels: of the rows,
                not: this.
            fra: misspelt.

        Raises:
            DataError, RunError: never.
        """

    assert entries(section(measure, "Args")) == ["labels", "fra"]
    assert entries(section(measure, "Shape")) == ["rows"]
    assert entries(section(measure, "Raises")) == ["DataError", "RunError"]
    assert parameters(measure) == ["rows", "labels", "far"]
    assert len(THINGS) > 300


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.__name__)
def test_every_module_says_what_it_is_for(module):
    assert (module.__doc__ or "").strip()


@every_thing
def test_every_public_thing_is_documented(name):
    assert (THINGS[name].__doc__ or "").strip(), name


@every_thing
def test_the_arguments_of_a_docstring_are_those_of_the_signature(name):
    """Where there is an `Args` section; a tensor may be described under `Shape` instead."""
    thing = THINGS[name]
    text = section(thing, "Args")
    if text is None:
        return
    described, taken = entries(text), parameters(thing)
    assert [one for one in described if one not in taken] == []
    elsewhere = set(entries(section(thing, "Shape") or ""))
    assert [one for one in taken if one not in described and one not in elsewhere] == []
    assert described == [one for one in taken if one in described], "in the order of the signature"


@every_thing
def test_what_a_docstring_says_is_raised_exists(name):
    text = section(THINGS[name], "Raises")
    module = importlib.import_module(THINGS[name].__module__)
    errors = importlib.import_module("insightface_cakd.errors")
    for raised in entries(text or ""):
        found = [getattr(place, raised, None) for place in (module, errors, builtins)]
        assert any(inspect.isclass(kind) and issubclass(kind, BaseException) for kind in found), raised


def blocks(page, *languages):
    return [text for language, text in FENCE.findall(page.read_text(encoding="utf-8")) if language in languages]


@every_page
def test_yaml_blocks_are_valid_recipes(page):
    for text in blocks(page, "yaml", "yml"):
        assert parse_recipe(yaml.safe_load(text), page.name).losses


@every_page
def test_python_blocks_are_losses_that_run(page):
    for text in blocks(page, "python"):
        names = {"DistillLoss": DistillLoss, "torch": torch, "nn": nn}
        before = set(names)
        exec(compile(text, str(page), "exec"), names)
        kinds = [names[name] for name in set(names) - before - {"__builtins__"}]
        assert [issubclass(kind, DistillLoss) for kind in kinds] == [True]
        student = torch.randn(4, 8, requires_grad=True)
        loss = kinds[0]()(student, torch.randn(4, 8))
        loss.backward()
        assert loss.shape == ()
        assert loss.dtype == torch.float32
        assert torch.isfinite(student.grad).all()
        assert student.grad.abs().sum() > 0


def commands(page):
    """Return every shell command of a page as words, `torchrun ... -m insightface_cakd` included."""
    for text in blocks(page, "sh", "bash", "shell"):
        for line in text.replace("\\\n", " ").splitlines():
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
    waiting = [root]
    while waiting:
        command = waiting.pop()
        command.callback = lambda *args, **kwargs: None
        waiting.extend(getattr(command, "commands", {}).values())
    return root


@every_page
def test_commands_in_blocks_parse(page, command_line):
    for words in commands(page):
        if "insightface_cakd" in words:
            words = ["cakd", *words[words.index("insightface_cakd") + 1 :]]
        if words[:1] == ["cakd"]:
            command_line.main(words[1:], prog_name="cakd", standalone_mode=False)


@every_page
def test_jobs_and_recipes_in_blocks_exist(page):
    for words in commands(page):
        if words[:2] == ["cakd", "train"] and not words[2].endswith(".py") and "--host" not in words:
            find_config(words[2])
        for before, word in pairwise(words):
            if before == "--distill":
                find_recipe(word)


@every_page
def test_make_targets_exist(page):
    targets = re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    text = page.read_text(encoding="utf-8")
    named = [words[1] for words in commands(page) if words[:1] == ["make"]] + re.findall(r"`make ([\w-]+)`", text)
    assert set(named) <= set(targets)


@pytest.mark.parametrize("file", [*PAGES, *SOURCES], ids=lambda file: str(file.relative_to(ROOT)))
def test_commands_named_in_a_sentence_exist(file, command_line):
    """In pages, docstrings, help and error lines: the command is there, and so is each of its options."""
    for words in inline_commands(file.read_text(encoding="utf-8")):
        command, rest = command_line, words[1:]
        while rest and rest[0] in getattr(command, "commands", {}):
            command, rest = command.commands[rest[0]], rest[1:]
        assert command is not command_line or not rest or rest[0] in ("...", "quickstart"), words
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in rest if word.startswith("--")} <= known | {"--help", "--version"}, words


@every_page
def test_links_inside_the_repository_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        linked = (page.parent / path) if path else page
        assert linked.exists(), target
        if anchor:
            heads = re.findall(r"^#+ (.+)$", linked.read_text(encoding="utf-8"), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", head.lower()).replace(" ", "-") for head in heads}, target


def test_the_readme_names_files_and_folders_that_are_there():
    tree = next(text for text in blocks(ROOT / "README.md", "text") if text.startswith("insightface_cakd/"))
    folder = ROOT
    for line in tree.splitlines():
        names = line.strip().split("   ")[0].split()
        folder = ROOT if not line.startswith(" ") else ROOT / "insightface_cakd"
        assert all((folder / name).exists() for name in names), line
