"""Rows of unlike lengths: steps that only some rows still take are computed for those alone.

In: an engine's key, tensors that fit each other, lengths.  Out: outputs and last states, as
running.py gives them.
Not here: a call of one sequence (running.py), packed sequences (module.py).

A kernel computes every row to the end, and throws away what lies behind a row's length. Here rows
are sorted by length, and time is cut where many of them have ended: each span is a call for the
rows that reach it. Autograd differentiates through the spans as through any calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from derive.torch.running import sequence

#: A span ends where fewer than so many of its rows are left.
_LEFT = 0.75
#: Multiply-adds that must be saved for a call more, which costs some 0.1 ms with its gradient.
_WORTH = 1 << 23


def ragged(
    key: str, params: Sequence[Tensor], x: Tensor, states: Sequence[Tensor], lengths: Tensor,
    reverse: bool,
) -> list[Tensor]:  # fmt: skip
    """Outputs [T, B, ...], then last states [B, ...]; see running.sequence.  lengths: [B]."""
    if torch.compiler.is_compiling() or torch._C._are_functorch_transforms_active():
        return sequence(key, params, [x], states, lengths, reverse)
    order = lengths.argsort(descending=True, stable=True)
    ends = lengths[order].tolist()
    spans = _spans(ends, len(x), sum(prod(param.shape) for param in params))
    if len(spans) < 2:
        return sequence(key, params, [x], states, lengths, reverse)
    sorted_already = ends == lengths.tolist()
    if not sorted_already:
        x, lengths = x.index_select(1, order), lengths[order]
        states = [state.index_select(0, order) for state in states]
    count = len(states)
    pieces: list[list[Tensor]] = []
    running = list(states)  # in the order that the spans run, rows that have begun
    for begin, end, rows in reversed(spans) if reverse else spans:
        first = [state[:rows] for state in running]
        own = (lengths[:rows] - begin).clamp(max=end - begin) if ends[rows - 1] < end else None
        results = sequence(key, params, [x[begin:end, :rows]], first, own, reverse)
        pieces.append(results[:-count])
        last = results[-count:]
        running = [torch.cat([new, old[rows:]]) for new, old in zip(last, running, strict=True)]
    pieces = pieces[::-1] if reverse else pieces
    outputs = []
    for parts in zip(*pieces, strict=True):
        padded = [_with_rows(part, x.shape[1]) for part in parts]
        if missing := len(x) - spans[-1][1]:
            padded.append(padded[0].new_zeros(missing, *padded[0].shape[1:]))
        outputs.append(torch.cat(padded))
    if not sorted_already:
        back = order.argsort()
        outputs = [output.index_select(1, back) for output in outputs]
        running = [state.index_select(0, back) for state in running]
    return [*outputs, *running]


def _spans(ends: Sequence[int], steps: int, params: int) -> list[tuple[int, int, int]]:
    """(begin, end, rows) of each call; ends: lengths of rows, longest first."""
    spans: list[tuple[int, int, int]] = []
    begin, longest = 0, ends[0] if ends else 0
    while begin < longest:
        rows = sum(end > begin for end in ends)
        left = int(rows * _LEFT)
        end = longest
        while left:
            at = ends[left]  # from here on at most `left` rows are there
            saved = (longest - at) * (rows - left) * params
            if at > begin and saved >= _WORTH and (at - begin) * rows * params >= _WORTH:
                end = at
                break
            left -= 1
        spans.append((begin, end, rows))
        begin = end
    return spans


def _with_rows(part: Tensor, rows: int) -> Tensor:
    """[T, fewer, ...] as [T, rows, ...], with zeros."""
    padding = [0, 0] * (part.dim() - 2) + [0, rows - part.shape[1]]
    return functional.pad(part, padding)
