"""Two cells -> whether they compute the same, with the parameter map or a counter-example.

In: two Cells.  Out: a `Verdict`.
Not here: cells whose arrays have axes (equal_axes.py), a map in one direction (one_direction.py),
its independent check (check.py), the proof by dimension (rank.py), fits (fits.py), a verdict in
words (verdict_text.py).

| verdict                     | means                                                         |
| --------------------------- | ------------------------------------------------------------- |
| equal                       | maps both ways, proved for values and gradients at every      |
|                             | point, widths one to one; one that a single cell has, any     |
| equal in values             | the same for values; a point where gradients differ           |
| equal where both are numbers | the same, but a point where one of the two is no number      |
| sub-case                    | a map one way, proved; the other way excluded, or possible in |
|                             | other widths only                                             |
| not equal                   | no map found, and one way excluded                            |
| undecided                   | anything else                                                 |

"Computes" means: outputs for all inputs, and states, from initial states that correspond; from
zero initial states where states had to be merged or are written in others. Excluded is a direction
by a `Rank`, which is a proof, or by fits that all stay away, which is evidence: `proved` tells.
Every map is checked by check.py before it counts. What the two disagree on is undecided.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from derive import pipeline
from derive.cell import Cell
from derive.comparison import map_from_fit, polynomial, verdict_text
from derive.comparison.canonical import deep_atoms
from derive.comparison.check import Apart, Check, check
from derive.comparison.constraints import only_params
from derive.comparison.equal_axes import Parts, equal_of_axes, proved_equal
from derive.comparison.fits import NEAR, Distance, mute_note, nearest, shown
from derive.comparison.one_direction import Sides, inverse, proved, searched
from derive.comparison.parameter_map import ParameterMap
from derive.comparison.rank import Rank, excludes
from derive.comparison.state_pairs import FREE
from derive.display import Printed

Tick = Callable[[str], None]

#: How often `equal` says what it did.
STEPS = 6
#: Steps for forms of two cells of vectors index by index.
BY_INDEX = 30_000


@dataclass(frozen=True, slots=True, repr=False)
class Verdict(Printed):
    """forward: B's parameters from A's, so that B computes A; backward: the other way.

    a, b: names; "lstm (first)" and "lstm (second)" where both cells have one name.  point: where
    the two differ under the map, of "equal in values" and "equal where both are numbers".
    distances: for each direction without a map, the fit that came nearest; ranks: for each that is
    proved to have none, the proof.  proved: whether all of the status is proved.

    `str` is what `derive equal` prints.
    """

    status: str
    a: str
    b: str
    forward: ParameterMap | None
    backward: ParameterMap | None
    distances: tuple[Distance, ...]
    notes: tuple[str, ...]
    ranks: tuple[Rank, ...] = ()
    proved: bool = False
    point: Apart | None = None

    def __bool__(self) -> bool:
        return self.status == "equal"

    def __repr__(self) -> str:
        return f"<Verdict: {verdict_text.headline(self)}>"

    def __str__(self) -> str:
        """What `derive equal` prints."""
        return "\n".join(verdict_text.text(self))


def equal(a: Cell, b: Cell, *, tick: Tick | None = None) -> Verdict:
    """Whether `a` and `b` compute the same for parameters that correspond to each other.

    tick: called with what was done, STEPS times at most, for a progress bar.

        verdict = derive.equal(derive.cells.gru(), derive.cells.gru(keeps="candidate"))
        verdict.status            # "equal", "equal in values", "equal where both are numbers",
                                  # "sub-case", "not equal" or "undecided"
        verdict.proved            # a proof, or numbers only
        verdict.forward.lines()   # ["W_z = -W_z", ...]: parameters of b from those of a
        verdict.forward.steps     # the proof, line by line
        verdict.distances         # counter-examples: parameters, inputs, outputs

    A Verdict is true if the cells are equal. Inputs and outputs pair by place, inputs of the
    same names by name.
    """
    return Comparing(a, b, tick or _silent).run()


def _silent(_: str) -> None:
    pass


def _called(cell: Cell, name: str) -> Cell:
    """The same cell under a name for messages."""
    return Cell.of(replace(cell.checked, declaration=replace(cell.declaration, name=name)))


class Comparing:
    """One comparison while it goes on; `so_far` tells what was found when it is interrupted."""

    def __init__(self, a: Cell, b: Cell, done: Tick) -> None:
        plain = [pipeline.as_vectors(cell) for cell in (a, b)]
        self.vectors = None not in plain and all(
            len(shape) < 2
            for cell in (a, b)
            for group in (cell.inputs, cell.states, cell.outputs)
            for shape in group.values()
        )
        if self.vectors and plain[0] is not None and plain[1] is not None:
            a, b = plain[0], plain[1]
        if a.name == b.name:
            a, b = _called(a, f"{a.name} (first)"), _called(b, f"{b.name} (second)")
        self.a, self.b, self.done = a, b, done
        self.cells = (a, b)
        self.sides = (Sides(a), Sides(b))
        self.maps: list[ParameterMap | None] = [None, None]
        self.checks: list[Check | None] = [None, None]
        self.distances: list[Distance] = []
        self.ranks: list[Rank] = []
        self.notes: list[str] = []
        self.unfinished: list[str] = []

    def run(self) -> Verdict:
        if not self.vectors:
            found = equal_of_axes(self.a, self.b, self.done)
            self.maps = [found.forward, found.backward]
            self.distances += found.distances
            self.notes += found.notes
            return self.verdict(found.status, proved=found.proved)
        if why := mismatch(self.a, self.b):
            self.notes.append(why)
            return self.verdict("not equal", proved=True)
        for each in self.sides:
            self.notes += each.notes()
        self.search()
        if (verdict := self.by_maps()) is not None:
            return verdict
        if (verdict := self.by_index()) is not None:
            return verdict
        excluded = [self.excluded(k) for k in (0, 1)]
        return self.by_maps() or self.by_numbers(excluded)

    def verdict(self, status: str, *, proved: bool = False, point: Apart | None = None) -> Verdict:
        return Verdict(
            status, self.a.name, self.b.name, self.maps[0], self.maps[1], tuple(self.distances),
            tuple(dict.fromkeys(self.notes)), tuple(self.ranks), proved, point,
        )  # fmt: skip

    def so_far(self) -> Verdict:
        """What is known before the end."""
        self.notes += self.unfinished
        return self.verdict("undecided")

    # --- maps ---------------------------------------------------------------------------------

    def search(self) -> None:
        for k in (0, 1):
            if self.maps[k] is None:
                self.take(k, searched(self.pair(k), self.unfinished))
                self.take_inverse(k)
            self.done(f"parameters of {self.cells[1 - k].name} for {self.cells[k].name}")

    def take_inverse(self, k: int) -> None:
        """The way back of a map that is a bijection, where it is proved like any other map."""
        made = self.maps[k]
        if made is None or self.maps[1 - k] is not None:
            return
        meaning = inverse(made)
        if meaning is not None:
            self.take(1 - k, proved(self.pair(1 - k), meaning))

    def pair(self, k: int) -> tuple[Sides, Sides]:
        return self.sides[k], self.sides[1 - k]

    def take(self, k: int, made: ParameterMap | None) -> None:
        """A map, if the checker agrees with it."""
        if made is None:
            return
        found = check(self.cells[k], self.cells[1 - k], made)
        wrong = found.values
        if made.gradients == "equal" and not made.outside:
            wrong = wrong or found.gradients or found.outside
        if wrong is not None:
            self.unfinished.append(
                f"a map of {made.source} to {made.target} that seemed proved is refuted by "
                f"numbers: {wrong.what} is {wrong.wanted:g} and {wrong.got:g}"
            )
            return
        if found.float64 is not None:
            at = found.float64
            self.notes.append(
                f"in float64, not in exact arithmetic, {at.what} differs at some points: "
                f"{at.wanted:g} in {made.source}, {at.got:g} in {made.target}"
            )
        self.maps[k] = replace(made, error=found.error)
        self.checks[k] = found

    def by_maps(self) -> Verdict | None:
        """What two maps say; None where one is missing."""
        forward, backward = self.maps
        if forward is None or backward is None:
            return None
        outside = next((c.outside for c in self.checks if c and c.outside), None)
        apart = next((c.gradients for c in self.checks if c and c.gradients), None)
        widths = narrow(forward, self.b) or narrow(backward, self.a)
        if outside is not None:
            return self.verdict("equal where both are numbers", proved=True, point=outside)
        if apart is not None:
            return self.verdict("equal in values", proved=True, point=apart)
        for made in (forward, backward):
            if made.outside:
                self.notes.append(
                    "values are the same wherever both are numbers; that both are numbers at the "
                    "same points is not proved, and no point was found where only one is"
                )
            elif made.gradients != "equal":
                self.notes.append(
                    "values are the same (proved); that gradients are is not proved, and no point "
                    "was found where they differ"
                )
            if made.outside or made.gradients != "equal":
                return self.verdict("undecided")
        if widths:
            self.notes.append(widths)
            return self.verdict("sub-case", proved=True)
        return self.verdict("equal", proved=True)

    def by_index(self) -> Verdict | None:
        """Of products of parameters more is known index by index."""
        try:
            with polynomial.budget(BY_INDEX):
                found = proved_equal(Parts(self.a), Parts(self.b))
        except polynomial.TooLarge:
            return None
        if not found.proved:
            return None
        self.maps = [found.forward, found.backward]
        self.notes += found.notes
        return self.verdict("equal", proved=True)

    # --- numbers ------------------------------------------------------------------------------

    def excluded(self, k: int) -> str:
        """Whether the other cell cannot compute this one: "proved", "evidence" or ""."""
        source, target = self.cells[k], self.cells[1 - k]
        if self.maps[k] is not None:
            return ""
        rank = excludes(source, target)
        if rank is not None:
            self.ranks.append(rank)
            best = shown(source, target)
            self.distances += [] if best is None else [best]
            self.done(f"fits of {target.name} to {source.name}")
            return "proved"
        fits = nearest(source, target)
        best = fits.best
        self.done(f"fits of {target.name} to {source.name}")
        if not fits.evidence and best is not None and best.relative < NEAR:
            meaning = map_from_fit.meaning(source, target, best)
            if meaning is not None:
                self.take(k, proved(self.pair(k), meaning))
                self.take_inverse(k)
                if self.maps[k] is not None:
                    return ""
        self.distances += [] if best is None else [best]
        if fits.evidence and _hidden(self.sides[1 - k]):
            self.notes.append(
                f"fits of {target.name} are no evidence: a parameter stands inside a function by "
                "itself, where a fit may miss it"
            )
        elif fits.incapable:
            self.notes.append(
                f"fits of {target.name} are no evidence: they do not find back to its own "
                "parameters"
            )
        elif fits.mute:
            self.notes.append(mute_note(source.name, target.name))
        elif not fits.evidence:
            self.notes.append(f"{target.name} may compute {source.name}: a fit came close")
        else:
            return "evidence"
        return ""

    def by_numbers(self, excluded: list[str]) -> Verdict:
        found = [made for made in self.maps if made is not None]
        k = next((k for k in (0, 1) if self.maps[k] is not None), None)
        if k is not None:
            made, checked = found[0], self.checks[k]
            sound = made.gradients == "equal" and not made.outside
            if checked is not None and checked.gradients is not None:
                self.notes.append(f"values only: {checked.gradients.what} differs under the map")
            elif not sound:
                self.notes.append("that gradients are the same under the map is not proved")
            if excluded[1 - k] and (sound or (checked and checked.gradients)):
                return self.verdict("sub-case", proved=excluded[1 - k] == "proved")
            self.notes.append(
                f"{made.target} computes {made.source} (proved); whether {made.source} computes "
                f"{made.target} is undecided"
            )
            return self.so_far()
        if any(excluded):
            how = "proved" in excluded
            return self.verdict("not equal", proved=how)
        return self.so_far()


def narrow(made: ParameterMap, target: Cell, *, told: bool = False) -> str:
    """Where the map holds in some widths of the target only: which.

    A width that the source has not may be any, for the map holds for each; told: it counts as well,
    because all widths of the target have to be told by the source's.
    """
    dims = _dims(target)
    images = {dim: made.sizes.get(dim, dim) for dim in dims}
    free = {dim for dim, image in images.items() if str(image).endswith(FREE)}
    if free and told:
        return f"{', '.join(sorted(free))} of {made.target} is no width of {made.source}"
    images = {dim: image for dim, image in images.items() if dim not in free}
    if len(set(images.values())) == len(images) and all(
        isinstance(image, str) for image in images.values()
    ):
        return ""
    text = ", ".join(
        f"{dim} of {made.target} = {image} of {made.source}" for dim, image in images.items()
    )
    return f"in these widths only: {text}"


def _dims(cell: Cell) -> list[str]:
    """Dimensions of arrays that an output depends on."""
    step = cell.step
    used = {*step.next_states, *step.outputs}
    for equation in reversed(step.program.equations):
        if equation.out in used:
            used.update(equation.operands)
    shapes = [array.shape for array in step.program.arrays if array.name in used]
    return list(dict.fromkeys(d for shape in shapes for d in shape if isinstance(d, str)))


def _hidden(sides: Sides) -> bool:
    """Whether a parameter stands in a power or in a function without an input or a state."""
    side = sides.plain or sides.opaque
    if side is None:
        return True
    with polynomial.opaque(side is sides.opaque):
        values = [*side.form.states.values(), *side.form.outputs]
        atoms = deep_atoms(values)
        parts = [*values, *(arg for atom in atoms for arg in atom.args)]
        powers = any(
            n != 1 and atom.kind == "param" for p in parts for mono in p.terms for atom, n in mono
        )
        functions = [a for a in atoms if a.kind in ("function", "exp", "power") and a.args]
        return powers or any(only_params(atom) for atom in functions)


def mismatch(a: Cell, b: Cell) -> str:
    """Why the two cannot even be compared."""
    for what, one, other in (
        ("inputs", a.inputs, b.inputs),
        ("outputs", a.outputs, b.outputs),
    ):
        if len(one) != len(other):
            return f"{what}: {a.name} has {', '.join(one)}; {b.name} has {', '.join(other)}"
        for (key, p), (partner, q) in zip(one.items(), other.items(), strict=True):
            if len(p) != len(q):
                return f"{key} of {a.name} has {len(p)} axes, {partner} of {b.name} {len(q)}"
            for x, y in zip(p, q, strict=True):
                if x == y or not (isinstance(x, int) or isinstance(y, int)):
                    continue
                return f"{key} of {a.name} has width {x}, {partner} of {b.name} has width {y}"
    return ""
