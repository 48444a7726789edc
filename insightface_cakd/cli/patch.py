"""`cakd patch status | apply | revert`."""

from enum import Enum
from pathlib import Path
from typing import Annotated

import typer

from insightface_cakd.cli.options import Host
from insightface_cakd.hosts.checkout import find_checkout
from insightface_cakd.hosts.patch_series import Group, Patch
from insightface_cakd.hosts.patching import apply, revert, status


class Only(str, Enum):
    """The groups of patches, as an enum for typer."""

    seam = "seam"
    modern_stack = "modern-stack"


OnlyGroup = Annotated[Only | None, typer.Option(help="Just this group of patches.")]


def register(app: typer.Typer) -> None:
    """Add this file's commands."""
    group = typer.Typer(
        help="Put git patches into a checkout, and take them out.",
        no_args_is_help=True,
    )
    for name, command in (("status", _status), ("apply", _apply), ("revert", _revert)):
        group.command(name)(command)
    app.add_typer(group, name="patch")


def _status(host: Host = None) -> None:
    """Print which patches are applied, which can be, or why not.

    Example: `cakd patch status --host insightface`.
    """
    folder = find_checkout(host).folder
    print(folder)
    for state in status(folder):
        print(state)


def _apply(host: Host = None, only: OnlyGroup = None) -> None:
    """Apply the patches, all or none; those already applied stay.

    Example: `cakd patch apply --host insightface`, then `python train_v2.py configs/NAME --distill RECIPE` in the checkout.
    """
    folder = find_checkout(host).folder
    _report(folder, "applied", apply(folder, _group(only)), "every patch is in already", only)


def _revert(host: Host = None, only: OnlyGroup = None) -> None:
    """Revert the patches, all or none.

    Files without other changes equal the pinned ones afterwards, byte for byte.
    """
    folder = find_checkout(host).folder
    _report(folder, "reverted", revert(folder, _group(only)), "no patch is in", only)


def _group(only: Only | None) -> Group | None:
    return None if only is None else "seam" if only is Only.seam else "modern-stack"


def _report(folder: Path, done: str, patches: list[Patch], otherwise: str, only: Only | None) -> None:
    for patch in patches:
        print(f"{done} {patch.name}: {patch.subject}")
    group = f" ({only.value})" if only else ""
    count = f"{len(patches)} patch{'es' * (len(patches) > 1)} {done}"
    print(f"{folder}: {count if patches else f'{otherwise}{group}; nothing was changed'}")
