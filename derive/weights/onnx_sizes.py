"""What one node of an ONNX graph takes to compute: bytes of memory, and work.

In: a model of one node, and what it reads.  Out: `Cost`; None where shapes do not tell.
Not here: the limits, and computing the node (onnx_evaluate.py).

The estimates are those of the onnx package's reference evaluator, which is slower and takes more
memory than a runtime: NonZero holds 64-bit integers, TopK one index for each axis. Operators that
are not listed here are taken to combine every element of one operand with every one of another.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

#: Bytes of one piece of a sequence: a NumPy array without its elements.
PIECE = 128
#: Work of one piece of a sequence.
_TAKE = 2**11
#: Work of one element that Python code visits, in bytes that NumPy would go through meanwhile.
_VISIT = 2**14
#: Operators of sequences and of open lengths: no shape is inferred.
_OPEN = frozenset(
    "NonZero Compress Unique SequenceAt SequenceConstruct SplitToSequence ConcatFromSequence "
    "SequenceLength SequenceInsert".split()
)
#: Operators that choose from what they read: their work is that of their results.
_CHOOSING = frozenset(
    "Constant Identity Slice Gather Reshape Squeeze Unsqueeze Split Transpose Flatten Shape Size "
    "SequenceAt".split()
)
#: Operators that NumPy computes in a few passes over what they read and give.
_PLAIN = frozenset(
    "Abs Acos Acosh Add And ArgMax ArgMin Asin Asinh Atan Atanh BitCast "
    "BitShift BitwiseAnd BitwiseNot BitwiseOr BitwiseXor Cast CastLike Ceil Clip Concat "
    "ConstantOfShape Cos Cosh CumProd CumSum DepthToSpace DequantizeLinear Div "
    "DynamicQuantizeLinear Equal Exp Expand EyeLike Floor Greater GreaterOrEqual HardSigmoid "
    "IsInf IsNaN LeakyRelu Less LessOrEqual Log LogSoftmax LpNormalization Max "
    "Mean Min Mod Mul Neg Not OneHot Or PRelu Pad Pow QuantizeLinear Range Reciprocal ReduceL1 "
    "ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd ReduceSum "
    "ReduceSumSquare Relu Round Sigmoid Sign Sin Sinh Softmax Softplus Softsign SpaceToDepth Sqrt "
    "Sub Sum Tan Tanh ThresholdedRelu Tile Trilu Where Xor".split()
)
#: Of these, those whose operands are not broadcast against each other.
_APART = frozenset(
    "Concat ConstantOfShape CumProd CumSum DequantizeLinear Expand OneHot Pad QuantizeLinear Range "
    "ReduceL1 ReduceL2 ReduceLogSum ReduceLogSumExp ReduceMax ReduceMean ReduceMin ReduceProd "
    "ReduceSum ReduceSumSquare Tile Trilu".split()
)
#: {operator: (bytes of memory, work) of each element that it reads or gives}, besides those.
_SLOW = {
    "Elu": (64, 512), "Erf": (64, 512), "Gelu": (64, 512), "GatherElements": (128, 512),
    "GatherND": (128, 4096), "Scatter": (16, 4096), "ScatterElements": (16, 4096),
    "ScatterND": (16, 4096),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Cost:
    """room: bytes of the results, and of what is held meanwhile.  work: in bytes gone through."""

    room: int
    work: int


def bytes_of(value: Any) -> int:
    """Of an array, or a sequence of arrays."""
    if isinstance(value, list):
        return sum(PIECE + bytes_of(each) for each in value)
    return int(np.asarray(value).nbytes)


def is_text(value: Any) -> bool:
    if isinstance(value, list):
        return any(map(is_text, value))
    return np.asarray(value).dtype.kind in "OUST"


def cost_of(model: Any, node: Any, given: Mapping[str, Any]) -> Cost | None:
    """ValueError where the results are text."""
    operands = [given[name] for name in node.input if name]
    kind = node.op_type if node.domain in ("", "ai.onnx") else ""
    read = sum(map(bytes_of, given.values()))
    if kind in _OPEN:
        room = _open_room(node, operands, read)
        pieces = _pieces(node, operands)
        return Cost(room, (0 if kind in _CHOOSING else room + read) + _TAKE * pieces + _own(node))
    inferred = _inferred(model, given)
    if inferred is None:
        return None
    result, count = inferred
    room, work = _more(kind, node, operands, count)
    if kind not in _CHOOSING or not all(_is_whole(value) for value in operands):
        work += read
    return Cost(result + room, result + work + _own(node))


def _own(node: Any) -> int:
    """Work of copying the node, with the arrays that it holds, into a model of its own."""
    size: int = node.ByteSize()
    return 8 * size


def _is_whole(value: Any) -> bool:
    return isinstance(value, list) or bool(value.flags.c_contiguous)


def _open_room(node: Any, operands: list[Any], read: int) -> int:
    first: Any = operands[0] if operands and isinstance(operands[0], np.ndarray) else np.zeros(0)
    rank, count = int(first.ndim), int(first.size)
    if node.op_type == "NonZero":
        return 24 * max(rank, 1) * count
    if node.op_type == "Unique":
        is_sorted = all(a.i for a in node.attribute if a.name == "sorted")
        return 3 * read + (64 if is_sorted else 256) * count
    if "Sequence" in node.op_type:
        return read + PIECE * _pieces(node, operands)
    return read + 8 * count


def _pieces(node: Any, operands: list[Any]) -> int:
    """Of the sequences that are read or given."""
    if node.op_type == "SplitToSequence":
        lengths = operands[1] if len(operands) > 1 else np.zeros(())
        shape = lengths.shape if lengths.ndim else (max(operands[0].shape, default=1),)
        return _count(shape)
    return sum(len(value) if isinstance(value, list) else 1 for value in operands)


def _more(kind: str, node: Any, operands: list[Any], count: int) -> tuple[int, int]:
    """Bytes and work besides the results and what is read. count: elements of the results."""
    sizes = [_elements(value) for value in operands]
    if kind in _CHOOSING:
        return 0, 0
    if kind in ("MatMul", "Gemm", "Einsum"):
        products, room = _products(kind, node, operands, count)
        is_quick = all(value.dtype in (np.float32, np.float64) for value in operands)
        return room, products * (1 if is_quick else 8) + room
    if kind in _PLAIN:
        room = _broadcast_room(kind, node, operands, count)
        return room, room
    if kind == "TopK":
        return 8 * (operands[0].ndim + 3) * sizes[0], 512 * sizes[0]
    if kind in _SLOW:
        room, work = _SLOW[kind]
        visited = sum(sizes) + count
        if "Gather" in kind or "Scatter" in kind:  # what they look up, and the rows for it
            places = operands[1].shape[: -1 if kind.endswith("ND") else None]
            rows = 2 * max(operands[0].shape, default=1) if kind == "GatherElements" else 0
            visited = rows + _count(places)
        return room * visited, work * visited
    # an operator that is not known: each element with each, as often as its attributes may say
    most = [*sorted(sizes, reverse=True), 1, 1][:2]
    pairs = max(most[0], 1) * max(most[1], 1)
    words = itertools.chain.from_iterable((a.i, *a.ints) for a in node.attribute)
    often = math.prod(max(abs(word), 1) for word in words)
    visited = (sum(sizes) + count + 1) * often
    return 16 * (pairs * often + visited), 64 * pairs * often + _VISIT * visited


def _elements(value: Any) -> int:
    return sum(map(_elements, value)) if isinstance(value, list) else _count(value.shape)


def _count(shape: Iterable[int]) -> int:
    """Elements, where an axis of none counts as one: [10**12, 0] may be large until its end."""
    return math.prod(max(size, 1) for size in shape)


def _broadcast_room(kind: str, node: Any, operands: list[Any], count: int) -> int:
    """Bytes beside the results. NumPy broadcasts operands both ways; where ONNX says that only the
    second one is, the inferred shape is that of the first one alone."""
    if kind in ("Range", "OneHot"):
        return 8 * count
    if kind in ("QuantizeLinear", "DequantizeLinear"):
        numbers = {a.name: a.i for a in node.attribute}
        axis, block = numbers.get("axis", 1), numbers.get("block_size", 0)
        first, widest = operands[0], max(value.size for value in operands[1:])
        if block:
            return int(8 * widest * max(block, 1))
        one = first.ndim and -first.ndim <= axis < first.ndim and first.shape[axis] == 1
        return int(8 * first.size * widest) if one and widest > 1 else 0
    if kind in _APART or len(operands) < 2:
        return 0
    whole = _count(np.broadcast_shapes(*(value.shape for value in operands)))
    return 8 * whole if whole > count else 0


def _products(kind: str, node: Any, operands: list[Any], count: int) -> tuple[int, int]:
    """Products of two numbers, and bytes of what is held between them."""
    first = operands[0]
    if kind != "Einsum":
        turned = kind == "Gemm" and any(a.i for a in node.attribute if a.name == "transA")
        depth = first.shape[0 if turned else -1] if first.ndim else 1
        room = 0
        if kind == "Gemm" and len(operands) > 2:  # NumPy broadcasts the sum both ways
            rows = first.shape[-1 if turned else 0]
            shape = np.broadcast_shapes((rows, count // max(rows, 1)), operands[2].shape)
            room = 8 * _count(shape) if _count(shape) > count else 0
        return count * max(depth, 1), room
    (equation,) = (a.s.decode() for a in node.attribute if a.name == "equation")
    sizes: dict[str, int] = {}
    words = equation.replace(" ", "").partition("->")[0].split(",")
    for word, value in zip(words, operands, strict=True):
        before, dots, after = word.partition("...")
        inner = [f"...{k}" for k in range(value.ndim - len(before) - len(after), 0, -1)]
        labels = [*before, *(inner if dots else ()), *after]
        for label, size in zip(labels, value.shape, strict=True):
            sizes[label] = max(sizes.get(label, 1), size)
    every = math.prod(sizes.values())
    # of three operands, two are put together first
    return every * len(operands), 8 * every if len(operands) > 2 else 0


def _inferred(model: Any, given: Mapping[str, Any]) -> tuple[int, int] | None:
    """Bytes and elements of the results by shape inference; None where it does not tell."""
    import onnx

    small = {
        name: value
        for name, value in given.items()
        if isinstance(value, np.ndarray) and value.size <= 1024 and value.dtype.kind in "iufb"
    }
    known = onnx.ModelProto()
    known.CopyFrom(model)
    known.graph.initializer.extend(
        onnx.numpy_helper.from_array(value, name) for name, value in small.items()
    )
    found = onnx.shape_inference.infer_shapes(known, data_prop=True)
    total = elements = 0
    for output in found.graph.output:
        shape = output.type.tensor_type
        if shape.elem_type == onnx.TensorProto.STRING:
            raise ValueError("its result is text, which no weight is made of")
        if not shape.HasField("shape") or any(
            not dim.HasField("dim_value") for dim in shape.shape.dim
        ):
            return None
        kind = onnx.helper.tensor_dtype_to_np_dtype(shape.elem_type)
        count = _count(dim.dim_value for dim in shape.shape.dim)
        total += max(kind.itemsize, 1) * count
        elements += count
    return total, elements
