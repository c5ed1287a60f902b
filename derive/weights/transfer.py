"""From one side's parameters to the other's, where that is exact.

In: parameters as one side has them, the names the other side wants, and the conventions of
both.  Out: the parameters wanted; ArgumentError with the reason where a function would change.
Loading and saving are the same thing with the sides exchanged.
Not here: arrays (blocks.py), finding out the conventions (traits.py).

What is exact:

- two biases of one gate added up, b = b_k + b_hk, but in the candidate of a GRU whose reset
  gate acts after the product: n = tanh(W x + b_n + r (U h + b_hn));
- what z keeps, turned round by the signs of its parameters: 1 - s(a) = s(-a);
- likewise i = 1 - f and f = 1 - i, and either of them as an LSTM with both gates;
- a forget bias that is added at run time, and one that is part of the bias.

The second and third hold for gates with 1 - gate(a) = gate(-a), as sigmoid and hard_sigmoid.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np

from derive.errors import ArgumentError
from derive.kernel.signature import Arrays
from derive.weights.blocks import Lengths, dims_of

_MIRROR = {"i": "f", "f": "i"}


@dataclass(frozen=True, slots=True)
class Side:
    """The conventions of one side; `words` is how messages speak of it."""

    words: str
    keeps: str = "previous"
    reset: str = ""
    forget_bias: float = 0.0


def transfer(
    params: Arrays,
    wanted: Collection[str],
    given: Side,
    target: Side,
    lengths: Lengths,
    mirrored: Callable[[], bool],
) -> Arrays:
    """`params` of the side `given` as the parameters `wanted` of the side `target`.

    mirrored: whether 1 - gate(a) = gate(-a); asked only where it matters.
    """
    work = _Transfer(dict(params), frozenset(wanted), given, target, lengths, mirrored)
    work.couple()
    work.turn()
    work.merge_biases()
    return work.finish()


@dataclass(slots=True)
class _Transfer:
    params: Arrays
    wanted: frozenset[str]
    given: Side
    target: Side
    lengths: Lengths
    mirrored: Callable[[], bool]

    def couple(self) -> None:
        """The gates i and f: one may be one minus the other; f may have a bias at run time."""
        lacking = [
            gate for gate in "if" if f"W_{gate}" in self.wanted and f"W_{gate}" not in self.params
        ]
        if not lacking:
            self._drop_mirror()
            self._shift(self.target.forget_bias - self.given.forget_bias)
            return
        gate, source = lacking[0], _MIRROR[lacking[0]]
        if not self.mirrored():
            raise ArgumentError(
                f"{self.given.words} cannot become those of {self.target.words}",
                facts=(
                    f"{gate} is 1 - {source} here, and has parameters there; their signs turn a "
                    "gate round only if 1 - gate(a) = gate(-a)",
                ),
            )
        self._shift(-self.given.forget_bias)
        for kind in ("W_", "U_", "b_", "b_h", "p_"):
            if kind + source in self.params:
                self.params[kind + gate] = -self.params[kind + source]
                if f"W_{source}" not in self.wanted:
                    del self.params[kind + source]
        self._shift(self.target.forget_bias)

    def _drop_mirror(self) -> None:
        """Leave out a gate that the other side computes as one minus its partner; ArgumentError
        where the parameters given say that it is something else."""
        for gate in "if":
            source = _MIRROR[gate]
            if f"W_{gate}" in self.wanted or {f"W_{g}" for g in "if"} - set(self.params):
                continue
            kinds = [k for k in ("W_", "U_", "b_", "b_h", "p_") if k + gate in self.params]
            shift = self.given.forget_bias
            same = all(
                np.array_equal(self.params[k + gate] + (shift if k == "b_" else 0),
                               -self.params[k + source] if k + source in self.params else 0)
                for k in kinds
            )  # fmt: skip
            if not (same and self.mirrored()):
                raise ArgumentError(
                    f"{self.target.words} has no gate {gate} of its own",
                    facts=(
                        f"there {gate} is 1 - {source}; in the arrays of {self.given.words} the "
                        f"parameters of {gate} are not those of {source} with the other sign",
                    ),
                    hint="derive.cells.lstm()",
                )
            for kind in kinds:
                del self.params[kind + gate]

    def _shift(self, by: float) -> None:
        """Take `by` off the forget gate's bias: the other side adds it at run time."""
        if by and "W_f" in self.params:
            name = "b_f" if "b_f" in self.wanted or "b_hf" not in self.wanted else "b_hf"
            self.params[name] = self.params.get(name, self._zeros(name)) - by

    def turn(self) -> None:
        """The signs of z where one side keeps the previous state with it, the other the new."""
        if self.given.keeps == self.target.keeps:
            return
        if not self.mirrored():
            raise ArgumentError(
                f"{self.given.words} cannot become those of {self.target.words}",
                facts=(
                    f"z keeps the {self.given.keeps} state here and the {self.target.keeps} "
                    "state there; the signs of its parameters turn it round only if "
                    "1 - gate(a) = gate(-a)",
                ),
                hint='derive.cells.gru(keeps="previous")',
            )
        for name in ("W_z", "U_z", "b_z", "b_hz"):
            if name in self.params:
                self.params[name] = -self.params[name]

    def merge_biases(self) -> None:
        for name in [n for n in self.params if n.startswith("b") and n not in self.wanted]:
            value = self.params.pop(name)
            partner = _partner(name)
            if partner in self.wanted and not self._inside_reset(name):
                self.params[partner] = self.params.get(partner, self._zeros(partner)) + value
            elif np.any(value):
                raise self._refused_bias(name)

    def _inside_reset(self, name: str) -> bool:
        return "after" in (self.given.reset, self.target.reset) and name in ("b_n", "b_hn")

    def _refused_bias(self, name: str) -> ArgumentError:
        if self._inside_reset(name):
            return ArgumentError(
                f"the two biases of the candidate cannot become one in {self.target.words}",
                facts=(
                    "n = tanh(W_n x + b_n + r * (U_n h + b_hn)): r multiplies b_hn alone, so "
                    "b_n + b_hn is another function",
                    f"{name} is not zero, and {self.target.words} has no {name}",
                ),
                hint='derive.cells.gru(reset="after", biases=2)',
            )
        return ArgumentError(
            f"{name} is not zero, and {self.target.words} has no bias that could take it up"
        )

    def finish(self) -> Arrays:
        for name, value in self.params.items():
            if name not in self.wanted and np.any(value):
                raise ArgumentError(
                    f"{self.target.words} has no {name}",
                    facts=(f"{name} of {self.given.words} is not zero",),
                )
        found: Arrays = {}
        for name in self.wanted:
            if name in self.params:
                found[name] = self.params[name]
            elif name.startswith("b"):
                found[name] = self._zeros(name)
            else:
                raise ArgumentError(f"{self.given.words} has no {name}")
        return found

    def _zeros(self, name: str) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        shape = tuple(self.lengths[dim] for dim in dims_of(name))
        return np.zeros(shape, np.result_type(*self.params.values()))


def _partner(name: str) -> str:
    """b_f <-> b_hf, b <-> b_h."""
    if name in ("b", "b_h"):
        return "b_h" if name == "b" else "b"
    return f"b_{name[3:]}" if name.startswith("b_h") else f"b_h{name[2:]}"
