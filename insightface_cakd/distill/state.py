"""The state of the method in a checkpoint."""

import torch
from torch import Tensor, nn

from insightface_cakd.distill.distillation import Distillation
from insightface_cakd.errors import RunError

PREFIX = "cakd."
EPOCH = f"{PREFIX}steps_in_an_epoch"


def method_state(distillation: Distillation) -> dict[str, Tensor]:
    """Return what a resumed run needs besides the host's own state.

    That is step count, projectors, fields, prompts and buffers of losses, each under the prefix `cakd.`. Where a schedule goes by epochs,
    the number of steps in an epoch is there too: another number of ranks or another batch makes it another one.
    """
    step = distillation.step
    state = {f"{PREFIX}step": torch.tensor(step.step)}
    if step.length is not None:
        state[EPOCH] = torch.tensor(step.length.epoch)
    state |= {f"{PREFIX}losses.{key}": value for key, value in step.losses.state_dict().items()}
    if distillation.student is not None:
        state |= {f"{PREFIX}{key}": value for key, value in distillation.student.method.state_dict().items()}
    return state


def load_method_state(distillation: Distillation, state: dict[str, Tensor]) -> None:
    """Load what `method_state` returned, in place.

    An empty state, that of a plain head, leaves the method as it is; another recipe's is a RunError. The step is that of the same epoch
    and share of it, if an epoch has another number of steps now.
    """
    if not state:
        return
    state = dict(state)
    saved_epoch = state.pop(EPOCH, None)
    expected = method_state(distillation)
    expected.pop(EPOCH, None)
    shapes = {key: tuple(value.shape) for key, value in state.items()}
    wanted = {key: tuple(value.shape) for key, value in expected.items()}
    differing = sorted(key for key in shapes.keys() | wanted.keys() if not _fits(shapes.get(key), wanted.get(key)))
    if differing:
        raise RunError(
            f"checkpoint: the method's state does not fit this recipe ({len(differing)} entries differ, first {differing[0]}: saved "
            f"{shapes.get(differing[0])}, expected {wanted.get(differing[0])}). Resume with the recipe of the run, or start a new one."
        )
    step = int(state[f"{PREFIX}step"])
    length = distillation.step.length
    if saved_epoch is not None and length is not None:
        step = step * length.epoch // max(int(saved_epoch), 1)
    distillation.step.step = step
    _load_part(distillation.step.losses, state, f"{PREFIX}losses.")
    if distillation.student is not None:
        _load_part(distillation.student.method, state, PREFIX)


def _fits(saved: tuple[int, ...] | None, expected: tuple[int, ...] | None) -> bool:
    """Return whether a saved tensor can be loaded.

    A queue of width 0 accepts any width, since it learns its width from its first rows.
    """
    if saved is None or not expected or expected[-1] != 0:
        return saved == expected
    return saved[:-1] == expected[:-1]


def _load_part(module: nn.Module, state: dict[str, Tensor], prefix: str) -> None:
    module.load_state_dict({key: state[f"{prefix}{key}"] for key in module.state_dict()})
