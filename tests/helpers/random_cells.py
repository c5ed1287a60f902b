"""Random legal cells, for tests of every target: `text(seed)` is the same cell for ever.

They hold what a person would not think of: matrices used twice and transposed, states of
several widths and width 1, gates on gates, dead equations, bare states as outputs, products of
parameters alone, comparisons, reductions, names that generated code uses itself.
"""

from __future__ import annotations

import random

UNARY = [
    "tanh",
    "sigmoid",
    "relu",
    "softplus",
    "logsigmoid",
    "softsign",
    "elu",
    "leaky_relu",
    "selu",
    "gelu",
    "silu",
    "hard_sigmoid",
    "hard_tanh",
    "abs",
    "sin",
    "cos",
    "erf",
    "expm1",
    "floor",
    "sign",
]


class _Cell:
    """One cell in the making: its arrays by width, and the lines written so far."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.lines = [f"cell random_{seed}"]
        self.vectors: dict[str, object] = {}
        self.shared: dict[str, object] = {}
        self.matrices: dict[str, tuple[object, object]] = {}

    def declare(self, kind: str, name: str, width: object) -> None:
        self.lines.append(f"{kind} {name}: {width}")
        (self.shared if kind == "param" else self.vectors)[name] = width

    def matrix(self, rows: object, columns: object) -> str:
        """A matrix of that shape: a new one, or a known one, transposed where that fits."""
        choose = self.random
        known = [m for m, shape in self.matrices.items() if shape == (rows, columns)]
        turned = [m for m, shape in self.matrices.items() if shape == (columns, rows)]
        if known and choose.random() < 0.3:
            return choose.choice(known)
        if turned and choose.random() < 0.4:
            return choose.choice(turned) + ".T"
        name = f"W{len(self.matrices) + 1}"
        self.matrices[name] = (rows, columns)
        self.lines.append(f"param {name}: {rows} x {columns}")
        return name

    def leaf(self, width: object) -> str:
        fitting = [n for n, w in (self.vectors | self.shared).items() if w in (width, 1)]
        if not fitting or self.random.random() < 0.15:
            return str(round(self.random.uniform(-1, 1), 2))
        return self.random.choice(fitting)

    def product(self, width: object) -> str:
        name, inner = self.random.choice(list((self.vectors | self.shared).items()))
        return f"{self.matrix(width, inner)} @ {name}"

    def expression(self, width: object, depth: int) -> str:
        if depth <= 0:
            return self.leaf(width)
        choose = self.random

        def part(of: object = width) -> str:
            return self.expression(of, depth - 1)

        kind = choose.random()
        if kind < 0.25:
            return self.product(width)
        if kind < 0.45:
            return f"{choose.choice(UNARY)}({part()})"
        if kind < 0.62:
            return f"({part()}) {choose.choice('+-*')} ({part()})"
        if kind < 0.68:
            return f"({part()}) / (2 + abs({part()}))"
        if kind < 0.74:
            relation = choose.choice(["<", "<=", ">", ">=", "==", "!="])
            return f"where({part()} {relation} {part()}, {part()}, {part()})"
        if kind < 0.79:
            return f"{choose.choice(['maximum', 'minimum'])}({part()}, {part()})"
        if kind < 0.83:
            return f"clip({part()}, -0.5, 0.7)"
        if kind < 0.88:
            return (
                f"{choose.choice(['sum', 'mean'])}({part(choose.choice([*self.vectors.values()]))})"
            )
        if kind < 0.92:
            return f"layer_norm({part()})" if width != 1 else f"tanh({part()})"
        if kind < 0.96:
            return f"({part()})**2"
        return f"log(1 + abs({part()})) + sqrt(1 + exp(0.1 * ({part()})))"


def text(seed: int) -> str:
    """The `.cell` text of random cell number `seed`."""
    cell = _Cell(seed)
    choose = cell.random
    for k in range(choose.choice([0, 1, 1, 1, 2, 2])):
        cell.declare("input", f"x{k}" if k else "x", choose.choice(["I", "H", 2, 1]))
    names = choose.sample(["h", "c", "t", "m", "np", "d_h"], choose.choice([1, 1, 2, 2, 3]))
    states = {name: choose.choice(["H", "H", "P", 1, 4]) for name in names}
    for name, width in states.items():
        cell.declare("state", name, width)
    for k in range(choose.randint(1, 3)):
        cell.declare("param", f"b{k}", choose.choice(["H", "P", 1]))
    equations = []
    for k in range(choose.randint(0, 3)):
        known = {**cell.vectors, **cell.shared}
        width = choose.choice([*known.values()])
        visible = choose.choice([name for name, w in known.items() if w == width])
        equations.append(f"v{k} = {cell.expression(width, 3)} + 0 * {visible}")
        cell.vectors[f"v{k}"] = width
    for name, width in states.items():
        other = [n for n, w in states.items() if w == width]
        if choose.random() < 0.12:
            equations.append(f"{name}' = {choose.choice(other)}")
        elif choose.random() < 0.6:
            equations.append(f"{name}' = tanh({cell.expression(width, 2)})")
        else:
            equations.append(f"{name}' = 0.5 * tanh({cell.expression(width, 3)}) + 0.2 * {name}")
        cell.vectors[f"{name}'"] = width
    outputs = choose.sample(sorted(cell.vectors), min(len(cell.vectors), choose.randint(1, 3)))
    return "\n".join([*cell.lines, *equations, f"output {', '.join(outputs)}", ""])


# --- what depends on parameters alone --------------------------------------------------------


class _Shared(_Cell):
    """Learned decays and temperatures: parameters used elementwise, in several places, in products
    and reductions of parameters alone, beside states of several widths."""

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self.lines = [f"cell shared_{seed}"]
        self.known: dict[str, object] = {}  # what was defined of parameters alone

    def width(self) -> object:
        return self.random.choice(["H", "H", "P", 1, 3])

    def reduction(self) -> str:
        return self.random.choice(["sum", "mean"])

    def param(self, width: object) -> str:
        """A vector of parameters of that width, or of width 1."""
        fitting = [n for n, w in self.shared.items() if w in (width, 1)]
        if not fitting or (len(self.shared) < 5 and self.random.random() < 0.25):
            name = f"e{len(self.shared)}"
            self.declare("param", name, self.random.choice([width, width, 1]))
            return name
        return self.random.choice(fitting)

    def named(self, width: object) -> str:
        """A shared array of exactly that width: a parameter, or one that was defined."""
        fitting = [n for n, w in {**self.shared, **self.known}.items() if w == width]
        if fitting and self.random.random() < 0.8:
            return self.random.choice(fitting)
        name = f"e{len(self.shared)}"
        self.declare("param", name, width)
        return name

    def alone(self, width: object, depth: int = 2) -> str:
        """An expression of parameters alone, of that width or width 1."""
        if depth <= 0:
            return self.param(width)
        choose, kind = self.random, self.random.random()

        def part(of: object = width) -> str:
            return self.alone(of, depth - 1)

        if kind < 0.2:
            return f"{choose.choice(['sigmoid', 'tanh', 'softplus', 'exp', 'relu'])}({part()})"
        if kind < 0.4:
            return f"({part()}) {choose.choice('+-*')} ({part()})"
        if kind < 0.6:
            inner = self.width()
            return f"{self.matrix(width, inner)} @ {self.named(inner)}"
        if kind < 0.7:
            return f"{self.reduction()}({part(self.width())})"
        if kind < 0.77:
            name = self.named(width)
            return f"exp({name}) / sum(exp({name}))" if width != 1 else f"exp(0.1 * {name})"
        if kind < 0.83:
            return f"layer_norm({self.named(width)})" if width != 1 else f"sin({self.param(1)})"
        if kind < 0.89:
            left, right = part(), self.param(width)
            return f"where({left} < {right}, {right}, {left})"
        if kind < 0.94:
            return f"maximum({self.param(width)}, {part()})"
        return f"1 / (1 + ({part()})**2)"

    def decay(self, width: object) -> str:
        fitting = [n for n, w in {**self.shared, **self.known}.items() if w in (width, 1)]
        if fitting and self.random.random() < 0.8:
            return self.random.choice(fitting)
        return f"({self.alone(width, 1)})"

    def moving(self, width: object) -> str:
        """An array of a row, of that width or width 1."""
        fitting = [n for n, w in self.vectors.items() if w in (width, 1)]
        if fitting and self.random.random() < 0.75:
            return self.random.choice(fitting)
        name, inner = self.random.choice(list(self.vectors.items()))
        return f"({self.matrix(width, inner)} @ {name})"

    def term(self, width: object) -> str:
        choose, kind = self.random, self.random.random()
        if kind < 0.25:
            return f"{self.decay(width)} * {self.moving(width)}"
        if kind < 0.4:
            name, inner = choose.choice(list(self.vectors.items()))
            return f"{self.matrix(width, inner)} @ ({self.decay(inner)} * {name})"
        if kind < 0.52:
            inner = self.width()
            return f"{self.matrix(width, inner)} @ {self.named(inner)}"
        if kind < 0.62:
            name, inner = choose.choice(list(self.vectors.items()))
            return f"{self.matrix(width, inner)} @ {name}"
        if kind < 0.74:
            return self.decay(width)
        if kind < 0.79:
            total = f"{self.reduction()}({self.moving(self.width())} * {self.decay(1)})"
            return f"{total} * {self.decay(width)}"
        if kind < 0.84:
            left, right = self.decay(width), self.moving(width)
            return f"where({left} < {right}, {left} * {left}, {right})"
        if kind < 0.9:
            return f"{self.decay(width)} * {self.decay(width)} * {self.moving(width)}"
        if kind < 0.95:
            return f"maximum({self.decay(width)}, {self.moving(width)})"
        return f"tanh({self.decay(width)})"


def shared_text(seed: int) -> str:
    """The `.cell` text of cell number `seed` in which much depends on parameters alone."""
    cell = _Shared(seed)
    choose = cell.random
    for k in range(choose.choice([0, 0, 1, 1, 2])):
        cell.declare("input", f"x{k}" if k else "x", choose.choice(["I", "H", 1]))
    names = choose.sample(["h", "c", "d", "y"], choose.choice([1, 2, 2, 3]))
    states = {name: cell.width() for name in names}
    for name, width in states.items():
        cell.declare("state", name, width)
    for k in range(choose.randint(1, 3)):
        cell.declare("param", f"e{k}", cell.width())
    equations = []
    for k in range(choose.randint(0, 3)):
        width = choose.choice(list(cell.shared.values()))
        same = choose.choice([n for n, w in cell.shared.items() if w == width])
        equations.append(f"s{k} = {cell.alone(width)} + {choose.choice([0, 0.1])} * {same}")
        cell.known[f"s{k}"] = width
    following = {}
    for name, width in states.items():
        terms = [cell.term(width) for _ in range(choose.choice([1, 2, 2, 3]))]
        total = choose.choice([" + ", " + ", " - "]).join(terms)
        forms = [
            "tanh({})",
            "tanh({})",
            "0.5 * ({})",
            "sigmoid({})",
            f"0.3 * ({{}}) + 0.2 * {name}",
        ]
        equations.append(f"{name}' = {choose.choice(forms).format(total)}")
        following[f"{name}'"] = width
        if choose.random() < 0.6:
            cell.vectors[f"{name}'"] = width
    known = sorted({**following, **cell.vectors, **cell.known, **cell.shared})
    outputs = choose.sample(known, min(len(known), choose.randint(1, 3)))
    return "\n".join([*cell.lines, *equations, f"output {', '.join(outputs)}", ""])
