"""From the tokens of one side to local fields."""

from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import layer_norm

from insightface_cakd.recipe.urfm import URFMSpec

Side = Literal["student", "teacher"]
SEPARATE: dict[str, tuple[str, ...]] = {
    "all": ("input",),
    "centres": ("input", "key", "value"),
    "none": ("input", "key", "value", "query", "attention"),
}


class Fields(NamedTuple):
    """Attention and local fields of one side in the common space.

    Args:
        looks: (B, mapping heads, L, N), attention of each centre over the tokens.
        attention: (B, heads, L, L), of the self-attention.
        values: (B, L, d), the output of the self-attention.
    """

    looks: Tensor
    attention: Tensor
    values: Tensor


class _Queries(nn.Module):
    """The local centres, c_i W_q, and the positional vectors P."""

    def __init__(self, spec: URFMSpec) -> None:
        super().__init__()
        self.centres = nn.Parameter(spec.spread * torch.randn(spec.centres, spec.width))
        self.weight = _linear(spec.width, spec.width)
        if spec.bias != "none":
            # One more for tokens without a place; all centres have a place.
            count = spec.buckets + (spec.bias == "key")
            self.positions = nn.Parameter(spec.spread * torch.randn(count, spec.width))

    def forward(self) -> Tensor:
        return self.weight(self.centres)


class _SelfAttention(nn.Module):
    """One layer of multi-head self-attention, without residual and norm."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = _linear(width, 3 * width, bias=True)
        self.out = _linear(width, width, bias=True)

    def forward(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """Return the attention and the output.

        Shape:
            rows: (B, L, d). Returns (B, heads, L, L) and (B, L, d).
        """
        split = self.qkv(rows).unflatten(-1, (3, self.heads, -1))  # (B, L, 3, heads, d / heads)
        query, key, value = split.permute(2, 0, 3, 1, 4)  # (B, heads, L, d / heads)
        attention = (query @ key.mT * query.shape[-1] ** -0.5).softmax(dim=-1)  # (B, heads, L, L)
        return attention, self.out((attention @ value).transpose(1, 2).flatten(2))  # (B, L, d)


class LocalFields(nn.Module):
    """Map the tokens of one side to local fields.

    Centres attend over the tokens; what they gather passes through self-attention. L fields of width d:

    e_ij = (c_i W_q + b_i) (f_j W_k)^T / sqrt(d) with the bias on the query side, (c_i W_q) (f_j W_k + b_j)^T / sqrt(d) on the key
    side; A = softmax_j(e); h_i = sum_j A_ij f_j W_v; fields = MSA(h). With H heads each has d / H columns of its own.
    f = tokens W_in, an input projection of each side. Unless `normalise` is none, h and the fields are brought to mean 0 and variance
    1 over their columns.

    Keys and values are never computed token by token: (c W_q) (x W_in W_k)^T = ((c W_q) (W_in W_k)^T) x^T, and A (x W) = (A x) W.
    So the cost beside the self-attention is L rows per image and not N.
    """

    def __init__(self, spec: URFMSpec, student_width: int, teacher_width: int) -> None:
        super().__init__()
        self.spec = spec
        widths = {"student": student_width, "teacher": teacher_width}
        self.parts = nn.ModuleDict()
        for name in ("input", "query", "key", "value", "attention"):
            sides = widths if name in SEPARATE[spec.shared] else {"shared": spec.width}
            self.parts[name] = nn.ModuleDict({side: self._build(name, width) for side, width in sides.items()})

    def forward(self, tokens: Tensor, side: Side, buckets: Tensor | None) -> Fields:
        """Return attention and local fields of one side.

        Shape:
            tokens: (B, N, width of the side). buckets: (L,) or (N,), or (B, L) or (B, N) for landmarks of each image; None without
                positional vectors.
        """
        looks = self._looks(tokens, side, buckets)
        seen = (looks.flatten(1, 2) @ tokens).unflatten(1, looks.shape[1:3])  # (B, H, L, width)
        values = self._weights("value", side)  # (H, d / H, width)
        rows = torch.einsum("bhlw,hdw->blhd", seen, values).flatten(2)  # (B, L, d)
        attention, fields = self._part("attention", side)(self._scaled(rows))
        return Fields(looks, attention, self._scaled(fields))

    def _looks(self, tokens: Tensor, side: Side, buckets: Tensor | None) -> Tensor:
        """Return the attention of centres over tokens, (B, H, L, N)."""
        queries = self._part("query", side)
        rows = queries()  # (L, d)
        if self.spec.bias == "query":
            rows = rows + queries.positions[buckets]  # (L, d) or (B, L, d)
        rows = self._split(rows)  # (..., H, L, d / H)
        inside = (rows @ self._weights("key", side)).flatten(-3, -2)  # (..., H L, width)
        scores = (tokens @ inside.mT).mT.unflatten(1, rows.shape[-3:-1])  # (B, H, L, N)
        if self.spec.bias == "key":
            table = (rows @ self._split(queries.positions).mT)[..., buckets]  # (H, L, N) or (H, L, B, N)
            scores = scores + (table if table.ndim == 3 else table.movedim(2, 0))
        return (scores * rows.shape[-1] ** -0.5).softmax(dim=-1)

    def _scaled(self, rows: Tensor) -> Tensor:
        return layer_norm(rows, rows.shape[-1:]) if self.spec.normalise != "none" else rows

    def _split(self, rows: Tensor) -> Tensor:
        """Return (..., R, d) as (..., H, R, d / H)."""
        return rows.unflatten(-1, (self.spec.mapping_heads, -1)).transpose(-2, -3)

    def _weights(self, name: str, side: Side) -> Tensor:
        """Return a side's keys or values behind its input projection.

        As one matrix per head, (H, d / H, width).
        """
        whole = self._part(name, side).weight @ self._part("input", side).weight
        return whole.unflatten(0, (self.spec.mapping_heads, -1))

    def _part(self, name: str, side: Side) -> Any:
        held: nn.ModuleDict = self.parts[name]  # type: ignore[assignment]
        return held["shared" if "shared" in held else side]

    def _build(self, name: str, width: int) -> nn.Module:
        spec = self.spec
        if name == "query":
            return _Queries(spec)
        if name == "attention":
            return _SelfAttention(spec.width, spec.heads)
        return _linear(width if name == "input" else spec.width, spec.width)


def _linear(inputs: int, outputs: int, bias: bool = False) -> nn.Linear:
    """Return a linear layer that keeps the variance of its inputs.

    torch's own initial weights divide it by 3; after four layers of these all fields are equal to 1e-9 and both losses are 0. The bias is 0
    at first.
    """
    layer = nn.Linear(inputs, outputs, bias=bias)
    nn.init.normal_(layer.weight, std=inputs**-0.5)
    if bias:
        nn.init.zeros_(layer.bias)
    return layer
