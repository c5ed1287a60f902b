"""Rows of unlike lengths: steps that only some rows still take are computed for those alone.

In: an engine's key, tensors that fit each other, lengths.  Out: outputs and last states, as
running.py gives them.
Not here: a call of one sequence (running.py), packed sequences (module.py).

A kernel computes each step up to the last row that has not ended, and what it computes for many
steps at once for all rows. Here rows are sorted, the longest first, and time is cut where many of
them have ended: each span is a call for the rows that reach it. Autograd differentiates through
the spans as through any calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import accumulate

import torch
from torch import Tensor
from torch.nn import functional

from derive.kernel.team import work_of
from derive.torch.running import sequence
from derive.torch.traced import are_hidden

#: A span ends where fewer than so many of its rows are left.
_LEFT = 0.5
#: Multiply-adds that must be saved for a call more, which costs some 0.1 ms with its gradient.
_WORTH = 1 << 23


def ragged(
    key: str, params: Sequence[Tensor], inputs: Sequence[Tensor], states: Sequence[Tensor],
    lengths: Tensor | None, reverse: bool,
) -> list[Tensor]:  # fmt: skip
    """Outputs [T, B, ...], then last states [B, ...]; see running.sequence.  lengths: [B]."""
    if lengths is None or are_hidden(lengths, inputs[0]):
        return sequence(key, params, inputs, states, lengths, reverse)
    steps, count = inputs[0].shape[0], len(states)
    order = lengths.argsort(descending=True, stable=True)
    ends = lengths[order].tolist()
    shapes = (state.shape[1:] for state in states)
    work = work_of((param.numel() for param in params), shapes)
    spans, as_given = _spans(ends, steps, work), lengths.tolist()
    if not count or (len(spans) < 2 and _rows_behind_ends(as_given) * work < _WORTH):
        return sequence(key, params, inputs, states, lengths, reverse)
    sorted_already = ends == as_given
    if not sorted_already:
        inputs, lengths = [x.index_select(1, order) for x in inputs], lengths[order]
        states = [state.index_select(0, order) for state in states]
    longest = spans[-1][1]
    parts_of = [
        x[:longest].split([end - begin for begin, end, _ in spans])  # one gradient, not many sums
        for x in inputs
    ]
    pieces: list[list[Tensor]] = []
    running = list(states)  # in the order that the spans run, rows that have begun
    whole = list(zip(spans, *parts_of, strict=True))
    for (begin, end, rows), *parts in reversed(whole) if reverse else whole:
        first = [state[:rows] for state in running]
        own = (lengths[:rows] - begin).clamp(max=end - begin) if ends[rows - 1] < end else None
        results = sequence(key, params, [x[:, :rows] for x in parts], first, own, reverse)
        pieces.append(results[:-count])
        last = results[-count:]
        running = [torch.cat([new, old[rows:]]) for new, old in zip(last, running, strict=True)]
    pieces = pieces[::-1] if reverse else pieces
    outputs = []
    for parts in zip(*pieces, strict=True):
        padded = [_with_rows(part, len(ends)) for part in parts]
        if missing := steps - longest:
            padded.append(padded[0].new_zeros(missing, *padded[0].shape[1:]))
        outputs.append(torch.cat(padded))
    if not sorted_already:
        back = order.argsort()
        outputs = [output.index_select(1, back) for output in outputs]
        running = [state.index_select(0, back) for state in running]
    return [*outputs, *running]


def _rows_behind_ends(lengths: Sequence[int]) -> int:
    """Rows of steps that have ended in front of one that has not: in this order they are computed,
    sorted they are not."""
    return sum(accumulate(reversed(lengths), max)) - sum(lengths)


def _spans(ends: Sequence[int], steps: int, work: int) -> list[tuple[int, int, int]]:
    """(begin, end, rows) of each call; ends: lengths of rows, longest first.  work: of one row of
    one step."""
    spans: list[tuple[int, int, int]] = []
    begin, longest = 0, ends[0] if ends else 0
    while begin < longest:
        rows = sum(end > begin for end in ends)
        left = int(rows * _LEFT)
        end = longest
        while left:
            at = ends[left]  # from here on at most `left` rows are there
            saved = (longest - at) * (rows - left) * work
            if at > begin and saved >= _WORTH and (at - begin) * rows * work >= _WORTH:
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
