"""Projectors from the student's space to the teacher's, dropped at export."""

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from insightface_cakd.errors import RecipeError, ShapeError, did_you_mean
from insightface_cakd.runtime.foreign import foreign
from insightface_cakd.runtime.objects import import_object, is_place

Shape = tuple[int, ...]


class _MapToMap(nn.Module):
    """Resample a map bilinearly to the teacher's grid, then a 1x1 convolution.

    (B, C_s, h, w) -> (B, C_t, H, W).
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        self.grid = teacher[1:]
        self.channels = nn.Conv2d(student[0], teacher[0], kernel_size=1, bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        if tuple(maps.shape[2:]) != self.grid:
            maps = interpolate(maps, size=self.grid, mode="bilinear", align_corners=False)
        return self.channels(maps)


class _MapToTokens(nn.Module):
    """Turn a map into the teacher's tokens, row by row.

    (B, C_s, h, w) -> (B, N, D), N a square grid.
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        side = math.isqrt(teacher[0])
        self.to_map = _MapToMap(student, (teacher[1], side, side))

    def forward(self, maps: Tensor) -> Tensor:
        return self.to_map(maps).flatten(2).transpose(1, 2)


class _TokensToMap(nn.Module):
    """Turn tokens into the teacher's map, row by row.

    (B, N, D) -> (B, C_t, H, W), N a square grid.
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        side = math.isqrt(student[0])
        self.to_map = _MapToMap((student[1], side, side), teacher)
        self.side = side

    def forward(self, tokens: Tensor) -> Tensor:
        return self.to_map(tokens.transpose(1, 2).unflatten(2, (self.side, self.side)))


class _MapToEmbedding(nn.Module):
    """Lay a map out in one row, then a linear layer.

    (B, C, h, w) -> (B, D). Positions keep weights of their own, as before the embedding of a recogniser.
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(math.prod(student), teacher[0], bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(maps.flatten(1))


class _PooledToEmbedding(nn.Module):
    """Average a map over its grid, then a linear layer.

    (B, C, h, w) -> (B, D). What is where is lost, and few weights are needed.
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        self.linear = nn.Linear(student[0], teacher[0], bias=False)

    def forward(self, maps: Tensor) -> Tensor:
        return self.linear(maps.mean(dim=(2, 3)))


def _linear(student: Shape, teacher: Shape) -> nn.Module:
    return nn.Linear(student[-1], teacher[-1], bias=False)


class _Orthogonal(nn.Module):
    """A linear map P from embedding to embedding with P^T P = 1.

    (B, D_s) -> (B, D_t), D_s <= D_t. It leaves all cosines as they are: a student whose projected embeddings are the teacher's has the
    teacher's cosines itself; and the best map back is the transpose. P is the factor Q of a QR decomposition with a positive diagonal of R,
    so that neither weight decay nor a large step makes it anything else.
    """

    def __init__(self, student: Shape, teacher: Shape) -> None:
        super().__init__()
        if student[-1] > teacher[-1]:
            raise ShapeError(
                f"projector orthogonal: the student has {student[-1]} values, more than the teacher's {teacher[-1]}; expected at most as "
                "many. Set projector: linear, or the config's embedding_size."
            )
        self.free = nn.Parameter(torch.empty(teacher[-1], student[-1]))
        nn.init.orthogonal_(self.free)

    @property
    def weight(self) -> Tensor:
        """Return P, (D_t, D_s)."""
        columns, triangle = torch.linalg.qr(self.free)
        return columns * triangle.diagonal().sign()

    def forward(self, embeddings: Tensor) -> Tensor:
        return embeddings @ self.weight.T


# kind -> (dimensions of the student's activation, of the teacher's, builder)
PROJECTORS: dict[str, tuple[int, int, Callable[[Shape, Shape], nn.Module]]] = {
    "linear": (1, 1, _linear),
    "orthogonal": (1, 1, _Orthogonal),
    "conv1x1": (3, 3, _MapToMap),
    "map_to_embedding": (3, 1, _MapToEmbedding),
    "pooled_to_embedding": (3, 1, _PooledToEmbedding),
    "map_to_tokens": (3, 2, _MapToTokens),
    "tokens_to_map": (2, 3, _TokensToMap),
}
_WORDS = {1: "an embedding (D)", 2: "tokens (N, D)", 3: "a map (C, H, W)"}


def build_projector(kind: str, student_shape: Shape, teacher_shape: Shape, where: str) -> nn.Module:
    """Return the module that takes the student's activation to the teacher's shape.

    Shapes are without the batch. One that the kind does not join, or tokens that are no square grid, are a ShapeError.

    Args:
        kind: `linear` (embeddings), `orthogonal` (embeddings; keeps cosines), `conv1x1` (maps; resampled where the grids differ),
            `map_to_embedding`, `pooled_to_embedding`, `map_to_tokens`, `tokens_to_map`; or `package.module:Class`, called with both shapes.
    """
    if is_place(kind):
        return _own(kind, student_shape, teacher_shape, where)
    if kind not in PROJECTORS:
        raise RecipeError(
            f"{where}: projector '{kind}' is not known; known: {', '.join(PROJECTORS)}.{did_you_mean(kind, PROJECTORS)}"
        )
    ours, theirs, build = PROJECTORS[kind]
    if (len(student_shape), len(teacher_shape)) != (ours, theirs):
        raise ShapeError(
            f"{where}: projector {kind} takes {_WORDS[ours]} to {_WORDS[theirs]}, but student is {student_shape} and teacher "
            f"{teacher_shape}. {_suggestion(student_shape, teacher_shape)}"
        )
    for side, shape in (("student", student_shape), ("teacher", teacher_shape)):
        if len(shape) == 2 and math.isqrt(shape[0]) ** 2 != shape[0]:
            raise ShapeError(
                f"{where}: {side} has {shape[0]} tokens; expected a square grid such as 49 or 144. Tap a layer without extra tokens."
            )
    return build(student_shape, teacher_shape)


def _own(kind: str, student_shape: Shape, teacher_shape: Shape, where: str) -> nn.Module:
    """Return a projector of a class of the user's."""
    build = import_object(kind, f"{where}: projector", "projector")
    with foreign(f"{where}: projector {kind}", RecipeError, "it to be made of both shapes. Correct it."):
        made = build(student_shape, teacher_shape)
    if not isinstance(made, nn.Module):
        raise RecipeError(
            f"{where}: projector {kind}: is a {type(made).__name__}; expected a torch.nn.Module. Correct it."
        )
    return made


def check_shapes(where: str, student_shape: Shape, teacher_shape: Shape) -> None:
    """Check that activations of these shapes, without batch, can be compared."""
    if student_shape != teacher_shape:
        raise ShapeError(
            f"{where}: student {student_shape} vs teacher {teacher_shape}; expected equal shapes. "
            f"{_suggestion(student_shape, teacher_shape)}"
        )


def _suggestion(student_shape: Shape, teacher_shape: Shape) -> str:
    dimensions = (len(student_shape), len(teacher_shape))
    fitting = [kind for kind, (ours, theirs, _) in PROJECTORS.items() if (ours, theirs) == dimensions]
    return f"Set projector: {fitting[0]}." if fitting else "No projector joins these; choose other taps."
