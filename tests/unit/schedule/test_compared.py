"""What is compared with its maximum has the same bits in both passes, however a compiler rounds."""

from __future__ import annotations

import numpy as np
import pytest

import derive
from derive.pipeline import schedule
from derive.widths import Width

CELLS = {
    "a maximum over an axis of what a softmax scales": """\
cell c
input x: I, m: N
state C: N x D
param W: N x D x I, b: D
z = W @ x + b
w = softmax(m * norm(C), N)
s = max(C * w, N) - min(z, N)
C' = tanh(z + s) * m + 0.5 * C
output s
""",
    "the largest element doubled": """\
cell c
input x: I
state h: H
p = sigmoid(W @ x) * (0.3 + h)
q = tanh(p * u)
h' = where(q == max(q), 2 * q, 0.1 * h)
output h'
""",
    "the distance from the maximum has no sign at the largest element": """\
cell c
input x: I
state h: H
p = tanh((W @ x) * (0.3 + h) + u * h)
d = p * g - max(p * g)
h' = where(d < 0, 0.1 * h, p)
output h'
""",
    "computed with a few multiplications and read in a later pass": """\
cell c
input x: I
state C: N x D
param W: N x I, u: D, v: D
a = C * u + outer(W @ x, v)
C' = 0.5 * a + 0.1 * where(a >= max(a, N), 1, C)
y = max(a, N)
output y, C'
""",
}
SIZES = {"I": 3, "H": 19, "N": 5, "D": 7}


@pytest.mark.parametrize("target", ["numpy", "c"])
@pytest.mark.parametrize("name", CELLS)
def test_the_gradient_of_a_maximum_reaches_the_largest_element(name, target):
    cell = derive.Cell.parse(CELLS[name])
    kernel = derive.compile(cell, target=target, dtype="float64")
    for seed in range(6):
        draw = np.random.default_rng(seed)
        point = _draw(cell, draw)
        run = kernel.forward(point[0], point[1], state=point[2])
        d_outputs = {n: draw.normal(size=v.shape) for n, v in run.outputs.items()}
        grads = kernel.backward(run, d_outputs=d_outputs)
        found = {**grads.params, **grads.inputs, **grads.states}
        way = [{n: draw.normal(size=v.shape) for n, v in group.items()} for group in point]
        slope = sum(float(np.sum(found[n] * v)) for group in way for n, v in group.items())
        ends = []
        for step in (1e-6, -1e-6):
            moved = [
                {n: v + step * at[n] for n, v in g.items()}
                for g, at in zip(point, way, strict=True)
            ]
            outputs = kernel.forward(moved[0], moved[1], state=moved[2]).outputs
            ends.append(sum(float(np.sum(outputs[n] * d)) for n, d in d_outputs.items()))
        assert slope == pytest.approx((ends[0] - ends[1]) / 2e-6, rel=1e-5, abs=1e-6), seed


def _draw(cell, draw):
    def of(shapes, *leading):
        return {
            n: draw.normal(size=(*leading, *(Width.of(d).length(SIZES) for d in shape))) * 0.7
            for n, shape in shapes.items()
        }

    return of(cell.params), of(cell.inputs, 3, 4), of(cell.states, 4)


def test_what_is_only_near_a_maximum_is_computed_again():
    cell = derive.Cell.parse(
        "cell c\ninput x: I\nstate h: H\na = tanh(W @ x) * u\nh' = h * softmax(a)\noutput h'"
    )
    parts = schedule(cell).split
    assert "a" not in parts.saved and "a" in parts.recomputed
