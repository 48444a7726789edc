"""Low-rank updates of a frozen student (LoRA)."""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import linear

from insightface_cakd.distill.sources.context import Context, Setting
from insightface_cakd.distill.sources.source import Source
from insightface_cakd.errors import RecipeError, did_you_mean


class LowRankUpdate(nn.Module):
    """Adds a low-rank product to the answer of a linear layer.

    W x + (alpha / rank) B A x; A is drawn as a linear layer's weight is, B is zero: at first the layer answers as before. Checkpoints have
    the layer's own weight beside the factors, since the student's state has the merged one: loaded after the student's, it undoes the
    merge.

    Shape:
        A: (rank, n_in). B: (n_out, rank).
    """

    def __init__(self, layer: nn.Linear, rank: int, alpha: float) -> None:
        super().__init__()
        self.scale = alpha / rank
        self.A = nn.Parameter(layer.weight.new_empty(rank, layer.in_features))
        self.B = nn.Parameter(layer.weight.new_zeros(layer.out_features, rank))
        nn.init.kaiming_uniform_(self.A, a=math.sqrt(5))
        # In a list: the layer stays a part of the student alone.
        self._layers = [layer]
        layer.register_forward_hook(self._add)

    @torch.no_grad()
    def merged(self) -> Tensor:
        """Return W + (alpha / rank) B A, (n_out, n_in)."""
        return self._layers[0].weight + self.scale * (self.B @ self.A)

    def get_extra_state(self) -> Tensor:
        """Return the layer's own weight, (n_out, n_in)."""
        return self._layers[0].weight.detach()

    def set_extra_state(self, state: Tensor) -> None:
        """Give the layer its own weight back."""
        with torch.no_grad():
            self._layers[0].weight.copy_(state)

    def _add(self, layer: nn.Module, inputs: tuple[Tensor, ...], answer: Tensor) -> Tensor:
        return answer + self.scale * linear(linear(inputs[0], self.A), self.B)


class Lora(Source):
    """Trains low-rank updates of a student whose own weights are frozen.

    What maps to the embedding trains as it is. Running statistics of normalisation layers move as in any training.

    Source: LoRA (arXiv 2106.09685), equation 3.
    """

    name = "lora"

    def __init__(self, setting: Setting) -> None:
        super().__init__(setting)
        student = setting.recipe.student
        spec = None if student is None else student.lora
        assert spec is not None, "checked by `takes_part`"
        self.spec = spec
        self.updates = nn.ModuleDict()

    @classmethod
    def takes_part(cls, setting: Setting) -> bool:
        """Return whether the recipe's student has low-rank updates."""
        return setting.recipe.student is not None and setting.recipe.student.lora is not None

    def adapt(self, backbone: nn.Module) -> None:
        """Freeze the student, and add the updates to its layers."""
        trained = self._trained(backbone)
        inside = {id(module) for one in trained for module in one.modules()}
        layers = {path: module for path, module in backbone.named_modules() if type(module) is nn.Linear}
        for target in self.spec.targets:
            if not any(_ends(path, target) for path in layers):
                raise _unknown("targets", target, list(dict.fromkeys(path.rpartition(".")[2] for path in layers)))
        chosen = {
            path: layer
            for path, layer in layers.items()
            if id(layer) not in inside and any(_ends(path, target) for target in self.spec.targets)
        }
        learnt = {id(one): one.requires_grad for module in trained for one in module.parameters()}
        for parameter in backbone.parameters():
            parameter.requires_grad_(learnt.get(id(parameter), False))
        self.updates = nn.ModuleDict(
            {
                path.replace(".", "/"): LowRankUpdate(layer, self.spec.rank, self.spec.alpha)
                for path, layer in chosen.items()
            }
        )

    def build(self, blank: Context) -> nn.Module:
        """Return the updates, which train and are in checkpoints."""
        return self.updates

    def merge(self, state: dict[str, Any], prefix: str) -> None:
        """Replace the weights of the layers by the merged ones."""
        for path, update in self.updates.items():
            assert isinstance(update, LowRankUpdate)
            state[f"{prefix}{path.replace('/', '.')}.weight"] = update.merged()

    def _trained(self, backbone: nn.Module) -> list[nn.Module]:
        """Return the modules that train as they are."""
        modules = dict(backbone.named_modules())
        if self.spec.trains is None:
            return [child for child in backbone.children() if any(True for _ in child.parameters())][-1:]
        for path in self.spec.trains:
            if path not in modules:
                raise _unknown("trains", path, list(modules))
        return [modules[path] for path in self.spec.trains]


def _ends(path: str, target: str) -> bool:
    return path == target or path.endswith(f".{target}")


def _unknown(key: str, name: str, known: list[str]) -> RecipeError:
    return RecipeError(
        f"student.lora.{key}: {name} is no {'linear layer' if key == 'targets' else 'module'} of the student; expected the "
        f"{'end of a path' if key == 'targets' else 'path of one'}.{did_you_mean(name, known)} Set student.lora.{key}."
    )
