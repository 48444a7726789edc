"""Networks of timm, adapted to faces."""

import sys
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import timm
import torch
from torch import Tensor, nn

from insightface_cakd.errors import CAKDError, TeacherError, did_you_mean, in_one_line

TIMM = "timm:"
_BATCH_NORM_EPS = 2e-5  # the value of every arcface_torch head


class TimmFace(nn.Module):
    """A network of timm with the embedding head of arcface_torch.

    The head is one linear layer on the whole last feature map or all tokens, then BatchNorm. A face is aligned, so the
    position of a feature matters: nothing is pooled.

    Shape:
        images: (B, 3, S, S), RGB in [-1, 1]. Embeddings: (B, num_features).

    Args:
        body: returns a map (B, C, H, W) or (B, H, W, C), or tokens (B, N, C).
        input_size: side S of the images in pixels.
        fp16: run the body in half precision on CUDA; the head always runs in its own precision.
    """

    def __init__(self, body: nn.Module, num_features: int, input_size: int = 112, fp16: bool = False) -> None:
        super().__init__()
        self.fp16 = fp16
        self.body = body
        linear = nn.Linear(_values(body, input_size), num_features, bias=False)
        nn.init.trunc_normal_(linear.weight, std=0.02)
        self.feature = nn.Sequential(linear, nn.BatchNorm1d(num_features, eps=_BATCH_NORM_EPS))

    def forward(self, images: Tensor) -> Tensor:
        """Return the embeddings of a batch of images.

        Shape:
            images: (B, 3, S, S), RGB in [-1, 1]. Embeddings: (B, num_features).
        """
        half = self.fp16 and images.is_cuda
        with torch.autocast("cuda", torch.float16) if half else nullcontext():
            seen = self.body(images).flatten(1)  # (B, values)
        with _no_autocast(seen):
            return self.feature(seen.to(next(self.feature.parameters()).dtype))  # (B, num_features)


def timm_face(name: str, num_features: int, input_size: int, error: type[CAKDError], fp16: bool = False) -> TimmFace:
    """Build a network of timm with a face recogniser's head, random weights."""
    body = create_timm(name, input_size, error, num_classes=0, global_pool="")
    try:
        return TimmFace(body, num_features, input_size, fp16)
    # A size that a timm network does not accept may only show when it runs, with any exception.
    except Exception as problem:
        raise error(_not_for(name, input_size, problem, error)) from problem


def has_face_head(keys: Iterable[str]) -> bool:
    """Return whether keys are those of a `TimmFace`, not timm's own classifier."""
    return any(key.endswith("feature.1.running_mean") for key in keys)


def face_state(network: TimmFace, state: dict[str, Tensor], error: type[CAKDError], where: str) -> dict[str, Tensor]:
    """Return a face network's state from timm's own weights of its body.

    The classifier is left out, and what depends on the image size, such as position embeddings, is resampled as timm does it. The head on
    the body is the network's own.

    Args:
        network: it keeps its weights.
        state: as timm publishes it, for the image size it was trained at.
        error: raised where timm cannot adapt the state.
        where: the file, for that error.
    """
    named = getattr(network.body, "pretrained_cfg", {}).get("classifier") or ()
    classifiers = (named,) if isinstance(named, str) else tuple(named)
    body = {key: value for key, value in state.items() if not key.startswith(tuple(f"{one}." for one in classifiers))}
    adapt = getattr(sys.modules[type(network.body).__module__], "checkpoint_filter_fn", None)
    try:
        body = body if adapt is None else adapt(body, network.body)
    # Each family has a function of its own, which assumes its own keys and shapes.
    except Exception as problem:
        raise error(
            f"{where}: timm cannot adapt it to {type(network.body).__name__} ({in_one_line(problem)[:200]}); expected the weights of this "
            "network. Is the config's network the right one?"
        ) from problem
    head = {key: value for key, value in network.state_dict().items() if key.startswith("feature.")}
    return {f"body.{key}": value for key, value in body.items()} | head


def create_timm(name: str, input_size: int, error: type[CAKDError], **options: Any) -> nn.Module:
    """Build a network of timm for an image size, without pretrained weights.

    A Swin keeps its patch size if patch merging can halve its maps evenly; if not, the patch is halved (at 112 pixels:
    patch 2, maps of 56, 28, 14, 7). Its window is the size nearest to its own that tiles every map.
    """
    where = f"network {TIMM}{name}"
    if not timm.is_model(name):
        raise error(
            f"{where}: timm {timm.__version__} has no such network; expected a name of timm.list_models()."
            f"{did_you_mean(name.split('.')[0], timm.list_models())}"
        )
    create: Callable[..., nn.Module] = timm.create_model
    if timm.models.is_model_in_modules(name.split(".")[0], ["swin_transformer"]):
        options |= swin_geometry(name, input_size, error)
    try:
        return create(name, pretrained=False, img_size=input_size, **options)
    except (TypeError, ValueError, AssertionError, RuntimeError) as problem:
        if "img_size" in str(problem) and isinstance(problem, TypeError):
            return create(name, pretrained=False, **options)
        raise error(_not_for(name, input_size, problem, error)) from problem


def swin_geometry(name: str, input_size: int, error: type[CAKDError]) -> dict[str, Any]:
    """Return a Swin's `patch_size` and `window_size` for an image size."""
    with torch.device("meta"):
        built: Any = timm.create_model(name, pretrained=False)
    patch, stages = built.patch_embed.patch_size[0], len(built.layers)
    windows = [max(stage.blocks[0].window_size) for stage in built.layers]
    halvings = 2 ** (stages - 1)
    fitting = next((side for side in (patch, patch // 2) if side and input_size % (side * halvings) == 0), None)
    if fitting is None:
        step = max(patch // 2, 1) * halvings
        lower = max(input_size // step, 1) * step
        raise error(
            f"network {TIMM}{name}: images of {input_size}x{input_size} give patch merging an odd map to halve, with patches of "
            f"{patch} and of {patch // 2}; expected a multiple of {step}. {_fix(error, f'{lower} or {lower + step}')}"
        )
    maps = [input_size // fitting // 2**stage for stage in range(stages)]
    if all(_tiles(window, side) for window, side in zip(windows, maps, strict=True)):
        return {"patch_size": fitting, "window_size": tuple(windows)}
    own = windows[0]
    window = min(
        (w for w in range(1, maps[0] + 1) if all(_tiles(w, m) for m in maps)), key=lambda w: (abs(w - own), -w)
    )
    return {"patch_size": fitting, "window_size": window}


def _not_for(name: str, input_size: int, problem: Exception, error: type[CAKDError]) -> str:
    reason = in_one_line(problem)[:300]
    fix = _fix(error, "a size that it takes")
    return f"network {TIMM}{name}: cannot be built for {input_size}x{input_size} images ({reason}). {fix}"


def _fix(error: type[CAKDError], sizes: str) -> str:
    # A teacher may take images of another size than the student; a student may not.
    return f"Set teacher.input_size to {sizes}." if error is TeacherError else "Choose another network."


def _tiles(window: int, side: int) -> bool:
    """Return whether windows tile a map exactly, or one covers it all."""
    return side <= window or side % window == 0


def _values(body: nn.Module, input_size: int) -> int:
    """Return how many numbers a network outputs for one image."""
    training = body.training
    with torch.no_grad():
        seen = body.eval()(torch.zeros(1, 3, input_size, input_size, device=next(body.parameters()).device))
    body.train(training)
    return seen[0].numel()


def _no_autocast(activations: Tensor) -> AbstractContextManager:
    # Where autocast is off already, the context does nothing, so that exporters see plain layers.
    device = activations.device.type
    if torch.amp.is_autocast_available(device) and torch.is_autocast_enabled(device):
        return torch.autocast(device, enabled=False)
    return nullcontext()
