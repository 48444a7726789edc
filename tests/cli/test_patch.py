"""`cakd patch`: what it says, and where it looks for the checkout."""

import pytest
import typer
from typer.testing import CliRunner

from insightface_cakd.cli import patch as command
from insightface_cakd.errors import CAKDError
from insightface_cakd.hosts import patching
from insightface_cakd.hosts.patch_series import read_series
from tests.hosts.invented_checkout import CHANGES, INSIDE, PINNED, SHA256, after, contents, write, write_series


@pytest.fixture(scope="module")
def series(tmp_path_factory):
    patches = tmp_path_factory.mktemp("patches")
    write_series(tmp_path_factory.mktemp("work"), patches)
    return patches


@pytest.fixture(autouse=True)
def use_series(series, monkeypatch):
    monkeypatch.setattr(patching, "read_series", lambda: read_series(series))
    monkeypatch.setattr(patching, "PINNED", SHA256)


@pytest.fixture
def checkout(tmp_path):
    """A checkout in no repository."""
    folder = tmp_path / INSIDE
    write(folder, PINNED)
    return folder


def run(*arguments):
    app = typer.Typer()
    command.register(app)
    return CliRunner().invoke(app, ["patch", *map(str, arguments)])


def test_the_command_says_what_it_did(checkout):
    assert run("revert", "--host", checkout).output == f"{checkout}: no patch is in; nothing was changed\n"
    assert run("apply", "--host", checkout, "--only", "seam").output == (
        f"applied 0001-flag.patch: flag: does it\n{checkout}: 1 patch applied\n"
    )
    said = run("apply", "--host", checkout, "--only", "seam").output
    assert said == f"{checkout}: every patch is in already (seam); nothing was changed\n"
    lines = run("status", "--host", checkout).output.splitlines()
    assert lines[0] == str(checkout)
    assert [line.split("  ")[0] for line in lines[1:]] == ["applied", "not applied"]
    assert run("revert", "--host", checkout).output.endswith(f"{checkout}: 1 patch reverted\n")
    assert contents(checkout) == PINNED


def test_the_command_takes_the_checkout_from_the_environment(checkout, monkeypatch):
    monkeypatch.setenv("ARCFACE_TORCH", str(checkout))
    assert run("apply").exit_code == 0
    assert contents(checkout) == after(*CHANGES)


def test_the_command_refuses_what_is_no_checkout_and_no_group(tmp_path, checkout):
    assert isinstance(run("status", "--host", tmp_path / "nowhere").exception, CAKDError)
    assert run("apply", "--host", checkout, "--only", "sea").exit_code == 2
    assert contents(checkout) == PINNED
