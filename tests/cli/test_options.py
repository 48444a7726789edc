"""An option means the same in every command, and what it was called before still works."""

import pytest
from typer.main import get_command

from insightface_cakd.cli import build
from insightface_cakd.cli.options import FORMER
from tests.cli.command_tree import command_tree, commands_below
from tests.commands import cakd

ROOT = get_command(build())
COMMANDS = {" ".join(words): command for words, command in command_tree(ROOT) if not commands_below(command)}


def options(command):
    return {
        name: parameter
        for parameter in command.params
        for name in parameter.opts
        if name.startswith("--") and name != "--help" and not parameter.hidden
    }


def meaning(option):
    """Return type and help; typer keeps the type where click did or, lately, in a descriptor."""
    kind = option.type_descriptor.annotation if hasattr(option, "type_descriptor") else option.type.to_info_dict()
    return (
        kind,
        getattr(option, "min", None),
        getattr(option, "max", None),
        option.multiple,
        option.is_flag,
        option.help,
    )


def test_an_option_of_several_commands_has_one_type_and_one_help():
    seen = {}
    for command in COMMANDS.values():
        for name, option in options(command).items():
            seen.setdefault(name, []).append(meaning(option))
    assert len(seen) > 30
    assert {"--output", "--data", "--sets", "--teacher", "--student", "--device", "--seed", "--json"} <= set(seen)
    assert {name: kinds for name, kinds in seen.items() if any(kind != kinds[0] for kind in kinds)} == {}


def test_every_option_says_what_it_is():
    assert [
        (words, name) for words, command in COMMANDS.items() for name, one in options(command).items() if not one.help
    ] == []


FORMER_OPTIONS = [(words, option) for words, former in FORMER.items() for option in former]


@pytest.mark.parametrize(
    ("words", "option"), FORMER_OPTIONS, ids=[f"{words} {option}" for words, option in FORMER_OPTIONS]
)
def test_a_former_option_is_read_as_what_it_is_called_now(words, option):
    value = "bf16" if "precision" in option else "7"
    name, now = FORMER[words][option](value)
    wanted = options(COMMANDS[words])[name].name
    before, after = parsed(words, [f"{option}={value}"]), parsed(words, [name, now])
    assert before[wanted] == after[wanted] != parsed(words, [])[wanted]
    assert parsed(words, [option, value]) == before


def parsed(words, arguments):
    """Return what a command reads of its arguments; what it needs may be left out."""
    *groups, name = words.split()
    context, command = ROOT.make_context("cakd", [], resilient_parsing=True), ROOT
    for group in groups:
        command = command.commands[group]
        context = command.make_context(group, [], parent=context, resilient_parsing=True)
    return command.commands[name].make_context(name, arguments, parent=context, resilient_parsing=True).params


def test_a_former_option_is_told_once():
    ran = cakd("bench", "--student", "mbf", "--student=cnn_tinny", "--batch", "2")
    assert "'cnn_tinny' is not a known network" in ran.err
    assert ran.err.splitlines()[:2] == [
        "cakd bench: --student is now --network; write --network mbf",
        "cakd bench: --batch is now --batch-size; write --batch-size 2",
    ]


def test_an_option_that_has_kept_a_meaning_is_not_touched(tmp_path):
    (tmp_path / "teacher.pt").write_bytes(b"")
    file = str(tmp_path / "teacher.pt")
    assert parsed("compare", ["--teacher", file])["teacher"] == file
    read = parsed("compare", ["--teacher", "faces_swin_tiny"])
    assert (read["teacher"], read["teacher_config"]) == (None, "faces_swin_tiny")
