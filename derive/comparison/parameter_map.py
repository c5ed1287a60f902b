"""What a parameter map is: each parameter of one cell as an expression of another's, and states.

In: what a search found.  Out: the map as data, and as text.
Not here: how a map is found (one_direction.py), whether it holds (check.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

from derive.comparison.matrices import Chain, Factor, Matrix
from derive.comparison.polynomial import Atom, Poly, single
from derive.program.program import Dim

Value = Poly | Matrix


@dataclass(frozen=True, slots=True)
class ParameterMap:
    """Each parameter of `target` as an expression of those of `source`; so target computes source.

    states: {state of target: what it is of source's}; through, where that
    can be written the other way round only: {state of source: what it is of target's, as ~NAME}.
    sizes: {dimension of target: of source}.  from_zero: whether initial states have to be zero.
    bijective: whether each parameter of the source is in turn an expression of those of the target,
    in the same widths.
    gradients: "equal", "apart" or "unknown", given that values are equal; ties: where they are
    apart, as text.  domain: whether both leave the numbers in the same places, and where not.
    steps: the proof, a line each.  error: the largest relative difference that the checker saw.
    axes: of arrays whose axes have another order in the target, as NumPy's transpose takes it.
    """

    source: str
    target: str
    params: Mapping[str, Value]
    states: Mapping[str, Poly]
    through: Mapping[str, Poly]
    inputs: Mapping[str, str]
    sizes: Mapping[str, Dim]
    from_zero: bool
    bijective: bool
    gradients: str = "equal"
    ties: tuple[str, ...] = ()
    outside: tuple[str, ...] = ()
    steps: tuple[str, ...] = ()
    error: float = float("nan")
    notes: tuple[str, ...] = field(default=())
    axes: Mapping[str, tuple[int, ...]] = field(default_factory=dict)

    def lines(self) -> list[str]:
        return [f"{name} = {self.text(name)}" for name in self.params]

    def text(self, name: str) -> str:
        """A parameter or a state of the target as an expression of the source's."""
        value = self.params.get(name, self.states.get(name))
        assert value is not None
        axes = self.axes.get(name, ())
        own = tuple(range(len(axes)))
        if axes == own:
            return text_of(value)
        swapped = axes == (*own[:-2], own[-1], own[-2])
        text = text_of(value)
        text = f"({text})" if " " in text else text
        return text + (".T" if swapped else f".transpose{axes}")

    def turned(self, name: str, value: Any) -> Any:
        """An array with its axes as the target has them."""
        return value.transpose(self.axes[name]) if name in self.axes else value

    @property
    def affine(self) -> dict[str, tuple[Fraction, Fraction]]:
        """{state of target: (factor, shift)}, where it is that of one of source's."""
        found = {}
        for state, value in self.states.items():
            shift = value.terms.get((), Fraction(0))
            rest = [(m, c) for m, c in value.terms.items() if m]
            if len(rest) != 1 or len(rest[0][0]) != 1:
                continue
            ((atom, n),), factor = rest[0]
            if atom.kind == "array" and n == 1 and (factor != 1 or shift):
                found[state] = factor, shift
        return found

    @property
    def simple_states(self) -> dict[str, str]:
        """{state of target: of source}, where it is simply that one or affine in it."""
        names = {}
        for state, value in self.states.items():
            arrays = [a.name for m in value.terms for a, n in m if a.kind == "array" and n == 1]
            if len(arrays) == 1 and len([m for m in value.terms if m]) == 1:
                names[state] = arrays[0]
        return names


def bijective(
    params: Mapping[str, Value],
    sizes: Mapping[str, Dim],
    source: Mapping[str, tuple[Dim, ...]],
    target: Mapping[str, tuple[Dim, ...]],
) -> bool:
    """Whether each parameter is one of the source's of the same shape, each once, but for a
    factor, a shift and a transposition; and whether the widths go one to one."""
    dims = {d for shape in target.values() for d in shape if isinstance(d, str)}
    images = [sizes.get(d, d) for d in dims]
    if len(set(images)) < len(images) or not all(isinstance(d, str) for d in images):
        return False
    used = []
    for name, value in params.items():
        own = _one_name(value)
        if own is None:
            return False
        shape = tuple(sizes.get(d, d) if isinstance(d, str) else d for d in target[name])
        if (source[own[0]][::-1] if own[1] else source[own[0]]) != shape:
            return False
        used.append(own[0])
    return sorted(used) == sorted(source)


def _one_name(value: Value) -> tuple[str, bool] | None:
    if isinstance(value, Matrix):
        chains = list(value.parts)
        if len(chains) != 1 or len(chains[0]) != 1 or not chains[0][0].name:
            return None
        return chains[0][0].name, chains[0][0].transposed
    monos = [mono for mono in value.terms if mono]
    if len(monos) != 1 or len(monos[0]) != 1:
        return None
    atom, n = monos[0][0]
    return (atom.name, False) if atom.kind == "param" and n == 1 else None


# --- text -----------------------------------------------------------------------------------


def text_of(value: Value) -> str:
    """As a line of a cell's text would say it."""
    if isinstance(value, Matrix):
        terms = [(chain_text(chain), c) for chain, c in value.parts.items()]
    else:
        ordered = sorted(value.ordered(), key=lambda item: not item[0])
        terms = [(mono_text(mono), c) for mono, c in ordered]
        terms.sort(key=lambda item: (item[0] == "", item[1] < 0))
    result = ""
    for text, c in terms:
        sign = "-" if c < 0 else "+"
        size = str(abs(c))
        part = text if text and abs(c) == 1 else f"{size} * {text}" if text else size
        result += f" {sign} {part}" if result else f"{sign.strip('+')}{part}"
    return result or "0"


def parts_of(value: Value) -> list[dict[str, object]]:
    """Its terms for machines: kind is vector, matrix, diag, eye, one or expression, and `name`
    the parameter, or the expression as text."""
    found: list[dict[str, object]] = []
    if isinstance(value, Matrix):
        for chain, c in value.parts.items():
            kind, name, turned = "expression", chain_text(chain), False
            if not chain:
                kind, name = "eye", ""
            elif len(chain) == 1 and chain[0].name:
                kind, name, turned = "matrix", chain[0].name, chain[0].transposed
            elif len(chain) == 1 and len(chain[0].diagonal) == 1 and chain[0].diagonal[0][1] == 1:
                kind, name = "diag", atom_text(chain[0].diagonal[0][0])
            found.append({"kind": kind, "name": name, "transposed": turned, "factor": str(c)})
        return found
    for mono, c in value.ordered():
        kind, name = ("one", "") if not mono else ("expression", mono_text(mono))
        if len(mono) == 1 and mono[0][1] == 1 and mono[0][0].kind == "param":
            kind = "vector"
        found.append({"kind": kind, "name": name, "transposed": False, "factor": str(c)})
    return found


def chain_text(chain: Chain) -> str:
    return " @ ".join(_factor_text(factor) for factor in chain) or "identity"


def _factor_text(factor: Factor) -> str:
    if not factor.name:
        return f"diag({mono_text(factor.diagonal)})"
    return factor.name + (".T" if factor.transposed else "")


def mono_text(mono: tuple[tuple[Atom, int], ...]) -> str:
    parts = []
    for atom, n in mono:
        text = atom_text(atom)
        parts.append(text if n == 1 else f"{text} ** {n}" if n > 0 else f"{text} ** ({n})")
    return " * ".join(parts)


def atom_text(atom: Atom) -> str:
    if atom.kind in ("array", "param"):
        return atom.name.removeprefix("~")
    if atom.kind == "size":
        return f"|{atom.name}|"
    inner = ", ".join(text_of(arg) for arg in atom.args)
    if atom.kind == "product":
        name = atom.name.removesuffix("'")
        short = len(atom.args[0].terms) == 1 and all(n == 1 for _, n in _only(atom.args[0]))
        inside = inner if short and len(_only(atom.args[0])) == 1 else f"({inner})"
        return f"({name}{'.T' if name != atom.name else ''} @ {inside})"
    if atom.kind == "power":
        return f"({inner}) ** ({atom.name})"
    return f"{atom.name or atom.kind}({inner})"


def _only(value: Poly) -> tuple[tuple[Atom, int], ...]:
    return next(iter(value.terms))


def is_simple(state: str, value: Poly) -> bool:
    """Whether it is simply an array of that name."""
    return value == single(((Atom("array", state, (), value.scalar), 1),))
