"""Arrays of torch with axes by name: elementwise functions, products, reductions, joining.

In: `Named` tensors.  Out: others.
Not here: the text of a cell (torch_cell.py), derive's own shapes, cuts and derivatives.

torch has no "a branch that is not taken contributes nothing": its product of a cotangent of 0 and
an infinite slope is NaN. `Gated` and `_Product` are elementwise functions and matrix products
whose backward pass leaves such terms out, and what torch differentiates inside them is torch's.
"""

from __future__ import annotations

import ast
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import torch

LAYER_NORM_EPSILON = 1e-5


class Gated(torch.autograd.Function):  # type: ignore[misc]
    """An elementwise function of tensors of one shape; no gradient where the cotangent is 0."""

    @staticmethod
    def forward(ctx: Any, function: Any, *args: Any) -> Any:
        ctx.function = function
        ctx.save_for_backward(*args)
        return function(*args)

    @staticmethod
    def backward(ctx: Any, d: Any) -> Any:
        with torch.enable_grad():
            args = [arg.detach().requires_grad_() for arg in ctx.saved_tensors]
            slopes = torch.autograd.grad(ctx.function(*args), args, d, allow_unused=True)
        zero = torch.zeros_like(d)
        return None, *(None if s is None else torch.where(d == 0, zero, s) for s in slopes)


class _Product(torch.autograd.Function):  # type: ignore[misc]
    """matrix [r, c] times vectors [..., c]."""

    @staticmethod
    def forward(ctx: Any, matrix: Any, vectors: Any) -> Any:
        ctx.save_for_backward(matrix, vectors)
        return vectors @ matrix.T

    @staticmethod
    def backward(ctx: Any, d: Any) -> Any:
        matrix, vectors = ctx.saved_tensors
        terms = d[..., :, None] * vectors[..., None, :]
        terms = torch.where(d[..., :, None] == 0, torch.zeros_like(terms), terms)
        return terms.sum(tuple(range(terms.ndim - 2))) if terms.ndim > 2 else terms, d @ matrix


# --- axes by name ---------------------------------------------------------------------------

#: (dimension, factor), sorted; the dimension of a number is "".
Axis = tuple[tuple[str, int], ...]
ONE: Axis = (("", 1),)


@dataclass(frozen=True, slots=True)
class Named:
    """tensor: [rows or 1, its axes]; axes: their names."""

    tensor: Any
    axes: tuple[Axis, ...]

    @property
    def is_scalar(self) -> bool:
        return self.axes == (ONE,)


def axis_of(width: str | int | ast.expr) -> Axis:
    """The name of an axis, however its width is written."""
    node = ast.parse(str(width), mode="eval").body if isinstance(width, (str, int)) else width
    return tuple(sorted((name, n) for name, n in _factors(node).items() if n))


def _factors(node: ast.expr) -> Counter[str]:
    if isinstance(node, ast.Constant):
        return Counter({"": int(node.value)})  # type: ignore[arg-type]
    if isinstance(node, ast.Name):
        return Counter({node.id: 1})
    assert isinstance(node, ast.BinOp)
    if isinstance(node.op, ast.Add):
        return _factors(node.left) + _factors(node.right)
    assert isinstance(node.op, ast.Mult) and isinstance(node.left, ast.Constant)
    factor = int(node.left.value)  # type: ignore[arg-type]
    return Counter({name: factor * n for name, n in _factors(node.right).items()})


def length_of(axis: Axis, sizes: Mapping[str, int]) -> int:
    return sum(factor * (sizes[name] if name else 1) for name, factor in axis)


def lying(value: Named, whole: tuple[Axis, ...]) -> Any:
    """The tensor with an axis of length 1 wherever `whole` has one that it lacks."""
    shape, rank = value.tensor.shape, len(whole)
    if value.is_scalar:
        return value.tensor.reshape(shape[0], *(1,) * rank)
    for places in combinations(range(rank), len(value.axes)):
        if tuple(whole[k] for k in places) == value.axes:
            lengths = [1] * rank
            for place, length in zip(places, shape[1:], strict=True):
                lengths[place] = length
            return value.tensor.reshape(shape[0], *lengths)
    raise RuntimeError(f"axes {value.axes} do not lie in {whole}")


def widest(values: Sequence[Named]) -> tuple[Axis, ...]:
    return max((v.axes for v in values if not v.is_scalar), key=len, default=(ONE,))


def elementwise(function: Callable[..., Any], *args: Named) -> Named:
    whole = widest(args)
    tensors = torch.broadcast_tensors(*(lying(arg, whole) for arg in args))
    return Named(Gated.apply(function, *tensors), whole)


def number(value: float) -> Named:
    return Named(torch.tensor([[value]], dtype=torch.float64), (ONE,))


#: An axis that meets no other.
_OWN: Axis = (("an axis of its own", 1),)


def _led(value: Named, lead: tuple[Axis, ...], own: int) -> Any:
    """The tensor with its leading axes matched by name with `lead`, its last `own` as they are."""
    axes = (*value.axes[: len(value.axes) - own], *(_OWN,) * own)
    return lying(Named(value.tensor, axes), (*lead, *(_OWN,) * own))


def _longer(one: tuple[Axis, ...], other: tuple[Axis, ...]) -> tuple[Axis, ...]:
    return one if len(one) >= len(other) else other


def _multiplied(one: Any, other: Any) -> Any:
    return Gated.apply(torch.mul, *torch.broadcast_tensors(one, other))


def product(left: Named, right: Named) -> Named:
    """Over the last axis of both; the axes before are matched by name."""
    lead = _longer(left.axes[:-2], right.axes[:-1])
    axes = (*lead, left.axes[-2])
    if len(left.axes) == 2 and left.tensor.shape[0] == 1:
        return Named(_Product.apply(left.tensor[0], right.tensor), axes)
    terms = _multiplied(_led(left, lead, 2), _led(right, lead, 1).unsqueeze(-2))
    return Named(terms.sum(-1), axes)


def outer(left: Named, right: Named) -> Named:
    lead = _longer(left.axes[:-1], right.axes[:-1])
    tensor = _multiplied(_led(left, lead, 1).unsqueeze(-1), _led(right, lead, 1).unsqueeze(-2))
    return Named(tensor, (*lead, left.axes[-1], right.axes[-1]))


def scaled(vector: Named, whole: Named, axis: int) -> Named:
    """diag(v) @ A, whose rows v scales, or A @ diag(v)."""
    at = len(whole.axes) + axis
    led = _led(vector, whole.axes[:at], 1)
    behind = (1,) * (len(whole.axes) - at - 1)
    return Named(_multiplied(led.reshape(*led.shape, *behind), whole.tensor), whole.axes)


def joined(parts: Sequence[Named]) -> Named:
    rows = max(part.tensor.shape[0] for part in parts)
    if any(part.tensor.shape[0] == 0 for part in parts):
        rows = 0
    tensors = [part.tensor.expand(rows, *part.tensor.shape[1:]) for part in parts]
    total: Counter[str] = Counter()
    for part in parts:
        total += Counter(dict(part.axes[-1]))
    return Named(torch.cat(tensors, -1), (*parts[0].axes[:-1], tuple(sorted(total.items()))))


# --- along an axis --------------------------------------------------------------------------


def _mean(v: Any, axis: int) -> Any:
    return v.sum(axis, keepdim=True) / v.shape[axis]


def normalised(v: Any, axis: int, eps: float) -> Any:
    if v.shape[axis] == 1:  # exactly 0, where torch would divide the rounding of a difference
        return torch.zeros_like(v)
    centred = v - _mean(v, axis)
    spread = _mean(Gated.apply(torch.square, centred), axis).expand_as(v)
    return Gated.apply(lambda c, s: c / torch.sqrt(s + eps), centred, spread)


DROPPING: dict[str, Callable[[Any, int], Any]] = {
    "sum": lambda v, axis: v.sum(axis),
    "mean": lambda v, axis: _mean(v, axis).squeeze(axis),
    "max": lambda v, axis: torch.amax(v, axis) if v.shape[axis] else v.sum(axis) - math.inf,
    "min": lambda v, axis: torch.amin(v, axis) if v.shape[axis] else v.sum(axis) + math.inf,
    "norm": lambda v, axis: torch.linalg.vector_norm(v, dim=axis),
    "logsumexp": lambda v, axis: torch.logsumexp(v, axis),
}
KEEPING: dict[str, Callable[[Any, int], Any]] = {"softmax": torch.softmax, "cumsum": torch.cumsum}
