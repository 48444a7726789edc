"""Checkpoints of arcface_torch say whose label is which."""

from contextlib import ExitStack
from types import ModuleType
from typing import Any

import torch

from insightface_cakd.data.label_order import LABELS, LabelOrder, as_saved, check_labels, label_order
from insightface_cakd.errors import RunError
from insightface_cakd.hosts.compat.fix import fix_for_every_version, wrapping
from insightface_cakd.hosts.compat.imports import after_import
from insightface_cakd.hosts.generations import has_keys, is_checkpoint


def _note_labels(stack: ExitStack) -> None:
    """Note whose data the loop reads; add that to what it saves, and compare what it loads."""
    orders: list[LabelOrder | None] = []

    def change(module: ModuleType) -> None:
        @wrapping(module, "get_dataloader")
        def get_dataloader(original: Any, root_dir: str, *args: Any, **kwargs: Any) -> Any:
            orders[:] = [label_order(root_dir)]
            return original(root_dir, *args, **kwargs)

    @wrapping(torch, "save", stack)
    def save(original: Any, content: Any, *args: Any, **kwargs: Any) -> None:
        noted = orders and has_keys(content)
        original({**content, LABELS: as_saved(orders[0])} if noted else content, *args, **kwargs)

    @wrapping(torch, "load", stack)
    def load(original: Any, file: Any, *args: Any, **kwargs: Any) -> Any:
        content = original(file, *args, **kwargs)
        # Other files may be read in a run, such as those with a teacher's centres.
        if orders and is_checkpoint(file):
            _compare(content, orders[0], file)
        return content

    after_import(stack, "dataset", change)


def _compare(content: dict[str, Any], now: LabelOrder | None, file: str) -> None:
    if now is not None and LABELS not in content:
        print(f"resume: {file} does not say whose label is which; taken as it is", flush=True)
    fix = "Resume with the data of the run, or start a new one."
    check_labels(content.get(LABELS), now, f"resume: {file}", RunError, fix)


CHECKPOINT_LABELS = fix_for_every_version(
    name="checkpoint-labels",
    breaks="train_v2.py:215-223: a checkpoint does not say whose label is which, and goes on with data numbered otherwise",
    fix="it does, and data with other labels are refused",
    until="arcface_torch saves it",
    apply=_note_labels,
)
