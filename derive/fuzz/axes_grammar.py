"""Random well-typed cells whose arrays have axes, as a hypothesis strategy.

In: nothing.  Out: `cells_with_axes()`, a strategy of `Drawn` texts as those of grammar.py.
Not here: cells of one width each (grammar.py), calls of their kernels (calls.py).

Every production makes an expression of exactly the shape that is asked for, so a cell is well
typed by construction:

- elementwise expressions hold one operand of the whole shape; the axes of the others are, in one
  way alone, some of its axes;
- sums of widths are made of dimensions in the order of ORDER, and cut between them, so that no
  axis is cut at two places of which neither is known to come first;
- every cell has something that only the second half of the language has.

Hypothesis shrinks towards what is drawn first. A construct that is added to the language becomes a
method of `_Maker` and a line in _OF_ANY or _OF_MATRICES.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import combinations
from typing import TypeVar

from hypothesis import strategies as st

from derive.fuzz.axes_shapes import (
    MAX_AXES,
    ORDER,
    SCALAR,
    Part,
    Shape,
    atoms_of,
    is_named,
    text_of,
    total_of,
    within,
)  # fmt: skip
from derive.fuzz.grammar import BOUNDS, NUMBERS, POWERS, RELATIONS, UNARY, WHOLE_POWERS, Drawn
from derive.widths import Width

Item = TypeVar("Item")

_AXES: tuple[str | int, ...] = ("N", "D", "K", "H", "D", "P", 2, 3)
_VECTORS: tuple[str | int, ...] = ("I", "H", "H", "D", 1, 3)
_SUMS = ("2*H", "H + 1", "I + H", "3*H", "4", "2*D", "I + 2*H", "H + D")
_STATE_NAMES = ("h", "C", "S", "n", "t", "m", "B")
_INPUT_NAMES = ("x", "u", "k0", "I", "rows")
_PARAM_NAMES = ("W", "U", "b", "A", "g", "V", "R", "e", "f", "M", "T", "d_W", "args", "out", "H")
_LOCAL_NAMES = ("v", "q", "k", "z", "a", "i", "j", "o", "y", "r", "w", "s", "acc", "unit", "d_v")
_STARTS = ("1", "orthogonal", "log(uniform(1, 99))", "glorot", "normal(0, 1)", "-0.5", "zeros")
_MOST_PARAMS = 7


class _Maker:
    """One cell in the making."""

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.arrays: dict[str, tuple[Shape, bool]] = {}  # shape, rowwise
        self.states: dict[str, Shape] = {}
        self.params: list[tuple[str, str]] = []  # name, line
        self.fixed: list[str] = []
        self.taken: set[str] = set()
        self.lines: list[str] = []

    # --- draws

    def pick(self, options: Sequence[Item]) -> Item:
        return self.draw(st.sampled_from(options))

    def chance(self, one_in: int) -> bool:
        """False where it shrinks to."""
        return self.draw(st.integers(0, one_in - 1)) == one_in - 1

    def name(self, pool: Sequence[str]) -> str:
        free = [name for name in pool if name not in self.taken]
        name = self.pick(free) if free else f"{pool[0]}_{len(self.taken)}"
        self.taken |= {name, f"{name}_next"}
        return name

    # --- operands

    def param(self, shape: Shape) -> Part:
        """A new parameter, or a fixed array."""
        name = self.name(_PARAM_NAMES)
        self.arrays[name] = shape, False
        if self.chance(8):
            self.fixed.append(f"fixed {name}: {text_of(shape)}")
        else:
            start = f" = {self.start(shape)}" if self.chance(6) else ""
            self.params.append((name, f"param {name}: {text_of(shape)}{start}"))
        return Part(name, shape, True, False)

    def start(self, shape: Shape) -> str:
        matrices = ("orthogonal", "glorot") if len(shape) < 2 else ()
        return self.pick([start for start in _STARTS if start not in matrices])

    def number(self) -> Part:
        text = self.pick(NUMBERS)
        return Part(text, SCALAR, True, False, array=False)

    def known(self, shape: Shape, rowwise: bool = False) -> list[str]:
        return [n for n, (own, of_row) in self.arrays.items()
                if own == shape and (of_row or not rowwise)]  # fmt: skip

    def leaf(self, shape: Shape) -> Part:
        """A name of exactly this shape."""
        fitting = self.known(shape)
        if not fitting or (self.chance(5) and len(self.params) < _MOST_PARAMS):
            return self.param(shape)
        name = self.pick(fitting)
        return Part(name, shape, True, self.arrays[name][1])

    def smaller(self, whole: Shape) -> Shape:
        """A shape that aligns with `whole` in one way: with fewer axes, or of width 1."""
        found = [whole]
        for count in range(1, len(whole)):
            for at in combinations(range(len(whole)), count):
                shape = tuple(whole[k] for k in at)
                if within(shape, whole) == 1 and shape != SCALAR:
                    found.append(shape)
        return self.pick([*found, SCALAR])

    # --- expressions of exactly a shape

    def exact(self, shape: Shape, depth: int) -> Part:
        if depth <= 0:
            return self.leaf(shape)
        table = _OF_MATRICES if len(shape) > 1 and self.chance(3) else _OF_ANY
        part = self.pick(table)(self, shape, depth - 1)
        return self.leaf(shape) if part is None else part

    def fitting(self, whole: Shape, depth: int) -> Part:
        """An operand beside one of the whole shape."""
        if self.chance(6):
            return self.number()
        return self.exact(self.smaller(whole), depth)

    def pair(self, shape: Shape, depth: int) -> tuple[Part, Part]:
        """Two operands, one of them whole, in either order."""
        parts = self.exact(shape, depth), self.fitting(shape, depth)
        return parts if not self.chance(2) else parts[::-1]

    def joined(self, text: str, shape: Shape, *parts: Part, atom: bool = False) -> Part:
        return Part(text, shape, atom, any(part.rowwise for part in parts))

    def unary(self, shape: Shape, depth: int) -> Part:
        inner = self.exact(shape, depth)
        return self.joined(f"{self.pick(UNARY)}({inner.text})", shape, inner, atom=True)

    def plus(self, shape: Shape, depth: int) -> Part:
        a, b = self.pair(shape, depth)
        return self.joined(f"{a.text} {self.pick('+-')} {b.bracketed()}", shape, a, b)

    def times(self, shape: Shape, depth: int) -> Part:
        a, b = self.pair(shape, depth)
        return self.joined(f"{a.bracketed()} * {b.bracketed()}", shape, a, b)

    def minus(self, shape: Shape, depth: int) -> Part:
        inner = self.exact(shape, depth)
        return self.joined(f"-{inner.bracketed()}", shape, inner)

    def quotient(self, shape: Shape, depth: int) -> Part:
        a, b = self.pair(shape, depth)
        safe = self.pick(("(2 + abs({}))", "exp({})", "sqrt(1 + ({}) ** 2)")).format(b.text)
        return self.joined(f"{a.bracketed()} / {safe}", shape, a, b)

    def where(self, shape: Shape, depth: int) -> Part:
        a, b = self.fitting(shape, depth), self.fitting(shape, depth)
        c, d = self.pair(shape, depth)
        chosen, test = c.text, f"{a.text} {self.pick(RELATIONS)} {b.text}"
        if self.chance(3) and c.array and c.shape == shape:
            # A branch that is not finite where it is not taken.
            of = self.pick(("log({})", "sqrt({})", "1 / ({})", "({}) ** -0.5"))
            chosen, test, a, b = of.format(c.text), f"{c.text} > 0.1", c, c
        return self.joined(f"where({test}, {chosen}, {d.text})", shape, a, b, c, d, atom=True)

    def larger(self, shape: Shape, depth: int) -> Part:
        a, b = self.pair(shape, depth)
        function = self.pick(("maximum", "minimum"))
        return self.joined(f"{function}({a.text}, {b.text})", shape, a, b, atom=True)

    def clip(self, shape: Shape, depth: int) -> Part:
        inner = self.exact(shape, depth)
        low, high = self.pick(BOUNDS)
        return self.joined(f"clip({inner.text}, {low}, {high})", shape, inner, atom=True)

    def power(self, shape: Shape, depth: int) -> Part:
        inner = self.exact(shape, depth)
        if self.chance(2):
            exponent = self.pick(POWERS)
            exponent = f"({exponent})" if "/" in exponent else exponent
            return self.joined(f"(1 + abs({inner.text})) ** {exponent}", shape, inner)
        return self.joined(f"{inner.bracketed()} ** {self.pick(WHOLE_POWERS)}", shape, inner)

    # --- products

    def matrix(self, shape: Shape, depth: int) -> Part:
        """What may stand left of @: mostly a name, or one transposed."""
        if depth > 0 and self.chance(3):
            return self.exact(shape, depth - 1)
        if len(shape) == 2 and shape[0] == shape[1] and self.chance(3):
            inner = self.leaf(shape)
            return Part(f"{inner.text} - 0.5 * eye({shape[0]})", shape, False, inner.rowwise)
        return self.transposed(shape, depth) if self.chance(3) else self.leaf(shape)

    def width(self) -> Width:
        """One over which a product may sum: of an array that there is."""
        return self.pick([shape[-1] for shape, _ in self.arrays.values()])

    def product(self, shape: Shape, depth: int) -> Part:
        """A @ v. The leading axes are those of A, or of v, or of both."""
        *lead, rows = shape
        leading, inner = tuple(lead), rows if self.chance(3) else self.width()
        if len(leading) == 2 or (leading and self.chance(3)):
            vector = self.rowwise((*leading, inner), depth)
            matrix = self.matrix((rows, inner), depth)
        else:
            matrix = self.matrix((*leading, rows, inner), depth)
            own = self.pick([leading, ()])
            vector = self.exact((*own, inner), depth)
        return self.joined(f"{matrix.bracketed()} @ {vector.bracketed()}", shape, matrix, vector)

    def rowwise(self, shape: Shape, depth: int) -> Part:
        """Of a product of two arrays that both have many axes, the right one belongs to a row."""
        part = self.exact(shape, depth)
        if part.rowwise:
            return part
        state = self.reduced_state()
        return Part(f"{part.bracketed()} + {state}", shape)

    def reduced_state(self) -> str:
        """A number for each row, of the first state."""
        name, shape = next(iter(self.states.items()))
        return "mean(" * len(shape) + name + ")" * len(shape)

    def outer(self, shape: Shape, depth: int) -> Part | None:
        *lead, rows, columns = shape
        leading = tuple(lead)
        one, other = self.pick([(leading, leading), (leading, ()), ((), leading)])
        u, v = self.exact((*one, rows), depth), self.exact((*other, columns), depth)
        return self.joined(f"outer({u.text}, {v.text})", shape, u, v, atom=True)

    def transposed(self, shape: Shape, depth: int) -> Part:
        inner = self.exact((*shape[:-2], shape[-1], shape[-2]), depth)
        return self.joined(f"{inner.bracketed()}.T", shape, inner, atom=True)

    def diagonal(self, shape: Shape, depth: int) -> Part:
        """diag(v) @ A scales the rows of A, A @ diag(v) its columns."""
        whole = self.exact(shape, depth)
        rows = len(shape) > 1 and self.chance(2)
        axis = len(shape) - 2 if rows else len(shape) - 1
        leading = shape[:axis] if self.chance(3) else ()
        vector = self.exact((*leading, shape[axis]), depth)
        if rows or len(shape) == 1:
            text = f"diag({vector.text}) @ {whole.bracketed()}"
        else:
            text = f"{whole.bracketed()} @ diag({vector.text})"
        return self.joined(text, shape, whole, vector)

    def square(self, shape: Shape, depth: int) -> Part | None:
        """diag(v) and eye(H) by themselves."""
        if shape[-1] != shape[-2]:
            return None
        if len(shape) == 2 and self.chance(2):
            return Part(f"eye({shape[-1]})", shape, True, rowwise=False)
        vector = self.exact(shape[:-1], depth)
        return self.joined(f"diag({vector.text})", shape, vector, atom=True)

    # --- along an axis

    def reduced(self, shape: Shape, depth: int) -> Part | None:
        """sum, mean, max ... along an axis that the result has not."""
        kept = () if shape == SCALAR else shape
        if len(kept) == MAX_AXES:
            return None
        width = self.pick([w for own, _ in self.arrays.values() for w in own])
        at = self.draw(st.integers(0, len(kept)))
        source = (*kept[:at], width, *kept[at:])
        named = self.axis(source, at)
        if named is None:
            return None
        inner = self.exact(source, depth)
        function = self.pick(("sum", "mean", "max", "min", "norm", "logsumexp"))
        return self.joined(f"{function}({inner.text}{named})", shape, inner, atom=True)

    def axis(self, source: Shape, at: int) -> str | None:
        """How an axis is named; None where its name is not its alone."""
        last = at == len(source) - 1
        if source.count(source[at]) == 1 and is_named(source[at]) and not (last and self.chance(2)):
            return f", {source[at]}"
        return "" if last else None

    def along(self, shape: Shape, depth: int) -> Part | None:
        """softmax, cumsum and layer_norm keep the axis."""
        at = self.draw(st.integers(0, len(shape) - 1))
        named = self.axis(shape, at)
        if named is None:
            return None
        inner = self.exact(shape, depth)
        function = self.pick(("softmax", "cumsum", "layer_norm"))
        eps = ", eps=1e-3" if function == "layer_norm" and self.chance(2) else ""
        return self.joined(f"{function}({inner.text}{named}{eps})", shape, inner, atom=True)

    # --- joining and cutting

    def concat(self, shape: Shape, depth: int) -> Part | None:
        atoms = atoms_of(shape[-1])
        if len(atoms) < 2:
            return None
        at = self.draw(st.integers(1, len(atoms) - 1))
        halves = [(*shape[:-1], total_of(half)) for half in (atoms[:at], atoms[at:])]
        # A number counts as a vector of width 1.
        parts = [
            self.number() if half == SCALAR and self.chance(2) else self.exact(half, depth)
            for half in halves
        ]
        return self.joined(f"concat({parts[0].text}, {parts[1].text})", shape, *parts, atom=True)

    def cut(self, shape: Shape, depth: int) -> Part | None:
        """Some atoms of a longer array, which come one after the other there."""
        own = atoms_of(shape[-1])
        before = Width.of(self.pick(ORDER[: ORDER.index(str(own[0])) + 1])) if (
            own[0].names()) else Width.of("H")  # fmt: skip
        pieces = ([before] if self.chance(2) else [], [own[-1]] if self.chance(2) else [])
        if not any(pieces):
            return None
        whole = self.exact((*shape[:-1], total_of([*pieces[0], *own, *pieces[1]])), depth)
        start, stop = total_of(pieces[0]), total_of([*pieces[0], *own])
        text = f"{whole.bracketed()}[{start}:{stop}]"
        return self.joined(text, shape, whole, atom=True)

    # --- statements

    def declare(self) -> list[str]:
        lines, plain = [], True
        for kind, pool, counts in (("input", _INPUT_NAMES, (1, 1, 2)),
                                   ("state", _STATE_NAMES, (1, 1, 2, 2))):  # fmt: skip
            for k in range(self.pick(counts)):
                name = self.name(pool)
                shape = self.shape(1 if kind == "input" else 2)
                plain = plain and len(shape) == 1 and len(text_of(shape).split()) == 1
                plain = plain and "*" not in text_of(shape)
                self.arrays[name] = shape, True
                behind = ""
                if kind == "input" and k and self.chance(2):
                    behind, plain = " once", False
                if kind == "state":
                    self.states[name] = shape
                    if self.chance(5):
                        start = self.name(_PARAM_NAMES)
                        self.params.append((start, f"param {start}: {text_of(shape)}"))
                        self.arrays[start] = shape, False
                        behind, plain = f" = {start}", False
                lines.append(f"{kind} {name}: {text_of(shape)}{behind}")
        if plain:
            name = self.name(_PARAM_NAMES)
            self.fixed.append(f"fixed {name}: {text_of(self.states[next(iter(self.states))])}")
            self.arrays[name] = next(iter(self.states.values())), False
        return lines

    def shape(self, most: int) -> Shape:
        """Of an input or a state: two axes in half of the cases, or a sum of widths."""
        kind = self.pick(("axes", "vector", "sum", "axes", "three"))
        if kind == "sum":
            return (Width.of(self.pick(_SUMS)),)
        count = {"axes": 2, "vector": 1, "three": 3}[kind]
        count = count if most == 2 else min(count, 2)
        if count == 1:
            return (Width.of(self.pick(_VECTORS)),)
        found: list[Width] = []
        for _ in range(count):
            free = [axis for axis in map(Width.of, _AXES) if axis not in found or self.chance(12)]
            found.append(self.pick(free))
        return tuple(found)

    def define(self) -> None:
        """Definitions and next values, in any order."""
        todo = [None] * self.pick((0, 1, 1, 2, 3)) + list(self.states)
        for state in todo if not self.chance(3) else todo[::-1]:
            if state is None:
                self.definition()
                continue
            shape = self.states[state]
            part = self.exact(self.smaller(shape), self.pick((1, 2, 2, 3)))
            form = self.pick(("tanh({})", "{}", "0.5 * tanh({}) + 0.2 * {}"))
            self.lines.append(f"{state}' = {form.format(part.text, state)}")
            self.arrays[f"{state}'"] = shape, True

    def definition(self) -> None:
        shape = self.pick([shape for shape, _ in self.arrays.values()])
        if self.chance(3):
            self.split(shape)
            return
        if self.chance(3):
            shape = self.smaller(shape)
        part = self.exact(shape, self.pick((1, 2, 3)))
        name = self.name(_LOCAL_NAMES)
        self.lines.append(f"{name} = {part.text}")
        self.arrays[name] = shape, part.rowwise

    def split(self, shape: Shape) -> None:
        """Two or three equal parts of an array of multiples of one width."""
        atom = atoms_of(shape[-1])[0]
        count = self.pick((2, 3))
        part = self.exact((*shape[:-1], atom.times(count)), self.pick((1, 2)))
        names = [self.name(_LOCAL_NAMES) for _ in range(count)]
        self.lines.append(f"{', '.join(names)} = split({part.text}, {count})")
        self.arrays |= {name: ((*shape[:-1], atom), part.rowwise) for name in names}

    def outputs(self) -> str:
        given = {line.split(":")[0].split()[-1] for line in self.fixed}
        names = [n for n in reversed(self.arrays) if n not in given | {p for p, _ in self.params}]
        chosen = [self.pick(names) for _ in range(self.pick((1, 1, 2, 3)))]
        return f"output {', '.join(dict.fromkeys(chosen))}"


_Production = Callable[[_Maker, Shape, int], Part | None]

_OF_ANY: tuple[_Production, ...] = (
    lambda maker, shape, depth: maker.leaf(shape),
    _Maker.product, _Maker.product, _Maker.product, _Maker.product,
    _Maker.unary, _Maker.unary, _Maker.plus, _Maker.plus, _Maker.times, _Maker.times, _Maker.times,
    _Maker.reduced, _Maker.reduced, _Maker.reduced, _Maker.along, _Maker.along,
    _Maker.minus, _Maker.quotient, _Maker.where, _Maker.larger, _Maker.clip, _Maker.power,
    _Maker.concat, _Maker.concat, _Maker.cut, _Maker.diagonal,
)  # fmt: skip
_OF_MATRICES: tuple[_Production, ...] = (
    _Maker.outer, _Maker.outer, _Maker.outer, _Maker.transposed, _Maker.diagonal,
    _Maker.square,
    _Maker.square,
)  # fmt: skip


@st.composite
def cells_with_axes(draw: st.DrawFn) -> Drawn:
    """Texts of well-typed cells whose arrays have axes, called `fuzzed`."""
    maker = _Maker(draw)
    declarations = maker.declare()
    maker.define()
    outputs = maker.outputs()
    params = [line for _, line in maker.params]
    shown = [line for _, line in maker.params if not maker.chance(3)]

    def text(own: list[str]) -> str:
        body = [*declarations, *own, *maker.fixed, *maker.lines, outputs]
        return "\n".join(["cell fuzzed", *body, ""])

    return Drawn(text(params), text(shown), False)
