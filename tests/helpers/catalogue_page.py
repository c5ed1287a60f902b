"""docs/reference/catalogue.md, from the catalogue: `python tests/helpers/catalogue_page.py`.

For each family its sources and where they differ (the docstring of its file), its equations, its
structure, its cost, its speed beside the LSTM and its options. A test compares the page with what
this writes.
Not here: a page of its own for a cell (`derive list --pages`), measuring (catalogue_speed.py).
"""

from __future__ import annotations

import ast
import json
import typing
from collections.abc import Iterator, Mapping
from pathlib import Path

import catalogue_speed
import compared
import sympy

import derive
from derive import cells
from derive.catalogue import relations
from derive.catalogue.entries import ENTRIES, GROUPS
from derive.catalogue.option import Activation, to_text
from derive.inspect.facts.cost import multiply_adds, polynomial
from derive.program.program import Matmul

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs" / "reference" / "catalogue.md"

HEAD = """# The catalogue

{count} entries of {families} families: published cells, each declared once by its equations, with
options that compose. `@` is the matrix product, `*` elementwise; a prime marks the next value of a
state. This page is written from the files in `derive/catalogue/` by
`tests/helpers/catalogue_page.py`.

```python
import derive

cell = derive.cells.lstm(peephole=True, forget_bias=1.0)
same = derive.cells.from_spec("lstm:peephole=true,forget_bias=1")
assert cell == same and cell.name == "lstm_forget_bias_1_peephole"

derive.cells.names()             # every entry that needs no argument
derive.cells.options("lstm")     # the options of an entry: name, type, default, meaning
```

```bash
derive list delta                      # the entries that have a word, and their options
derive show kda                        # its equations, gradient, schedule and cost
derive list --pages catalogue          # a page of each cell; catalogue/index.html links them
derive list delta --pages deltas       # of the entries that have a word
derive show kda --format html > kda.html
derive equal mycell.cell --known       # which entries a cell equals, contains or is part of
```

## Options

- Options are keywords; on the command line they follow a colon: `gru:reset=before,biases=2`.
  A *number* is finite; *none* (in Python `None`) leaves the feature out.
- The name of a cell lists the options that are not at their defaults, in the order of the tables
  below: `lstm_peephole_cell_clip_3`. A number keeps its digits: 0.5 is `0p5`, -1 is `m1`, 1e-7 is
  `1em07`.
- A combination that has no meaning is an error, such as `proj_clip` without `projection`.
- A forget bias is a constant of the cell, added at run time; at 0 it is left out. Parameters taken
  from a library that stores it inside its bias need `forget_bias=0`.

An *activation* is one of {activations}.

`identity` leaves its argument as it is. The gradient of `sign`, `floor` and `stop_gradient` is
zero.

## What the numbers mean

*State* is how many numbers a row carries from step to step, *parameters* how many are trained.
*Multiply-adds* are those of the products of one step of one row, forward; products of parameters
alone, which run once a call, are left out. Training takes three times as many.
`derive show CELL --stage cost` has all of it.

*Training* is the time of a forward and a backward pass by the C target in float32 with one thread,
and how many times the LSTM's it is, both measured in turn on {processor}: {steps} steps of {rows}
rows, {width} inputs and {width} units (four heads of 32 where a family has heads; the other widths
are printed beside). `tests/helpers/catalogue_speed.py` measures it by the machinery of
`derive bench`.

A page of its own, with graph, structure, gradient and cost, is written by the command beside each
family; `derive list --pages FOLDER` writes all of them.
"""

SPEED = json.loads(catalogue_speed.FILE.read_text("utf-8"))


def page() -> str:
    """The whole page."""
    activations = ", ".join(typing.get_args(Activation))
    families = [family for group in GROUPS.values() for family in group]
    measured = {name: SPEED[name] for name in ("processor", "steps", "rows", "width")}
    head = HEAD.format(
        count=len(ENTRIES), families=len(families), activations=activations, **measured
    )
    parts = [head, *_listing(), *_related(), *_compared()]
    for family in families:
        parts += _section(family)
    return "\n".join(parts)


def _listing() -> Iterator[str]:
    yield "## Entries\n"
    for group, families in GROUPS.items():
        yield f"### {group[0].upper()}{group[1:]}\n"
        yield "| entry | is |"
        yield "| --- | --- |"
        for name, (family, preset) in ENTRIES.items():
            if family in families:
                what = f"`{_spec(family, preset)}`" if preset else _title(family)
                yield f"| [`{name}`](#{family}) | {what} |"
        yield ""


def _related() -> Iterator[str]:
    yield "## Families that are the same\n"
    yield "Proved by `derive equal`, which prints how the parameters correspond.\n"
    yield "| one | other | |"
    yield "| --- | --- | --- |"
    for pairs, words in (
        (relations.EQUAL, "the same function"),
        (relations.PART_OF, "the second contains the first"),
    ):
        for one, other in pairs:
            yield f"| `{one}` | `{other}` | {words} |"
    yield ""
    yield "These are, after one line has changed (`derive diff` and `derive equal` name them):\n"
    yield "| cell | line | is |"
    yield "| --- | --- | --- |"
    for one, line, other in relations.ONE_LINE:
        yield f"| `{one}` | `{line}` | `{other}` |"
    yield ""
    yield "Of a cell of your own: `derive equal mycell.cell --known`.\n"


def _compared() -> Iterator[str]:
    yield "## Compared with public implementations\n"
    yield "Once, in float64, with the same random parameters: six steps of three rows. The last two"
    yield "columns are the largest difference and the largest output. snntorch's surrogate computes"
    yield "in float32.\n"
    yield "| cell | program | difference | size |"
    yield "| --- | --- | ---: | ---: |"
    for spec, program, difference, size in compared.COMPARED:
        yield f"| `{spec}` | {program} | {difference:.0e} | {size:g} |"
    yield ""


def _spec(family: str, preset: Mapping[str, typing.Any]) -> str:
    return f"{family}:{','.join(f'{key}={to_text(value)}' for key, value in preset.items())}"


def _docstring(family: str) -> str:
    source = (ROOT / "derive" / "catalogue" / f"{family}.py").read_text("utf-8")
    return ast.get_docstring(ast.parse(source)) or ""


def _title(family: str) -> str:
    return _docstring(family).partition("\n\n")[0].replace("\n", " ").removesuffix(".")


def _section(family: str) -> Iterator[str]:
    cell = cells.from_spec(family)
    yield f"## {family}\n"
    yield f"{_docstring(family)}\n"
    yield "```"
    yield from (line for line in cell.to_text().splitlines() if not line.startswith("doc "))
    yield "```\n"
    yield f"{_facts(cell)}\n"
    yield f"{_speed(family)}\n"
    kind = derive.structure(cell).kind
    yield f"{kind[0].upper()}{kind[1:]}. Page: `derive list {family} --pages pages`.\n"
    options = cells.options(family)
    if not options:
        yield "No options.\n"
        return
    yield "| option | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for option in options:
        yield (
            f"| `{option.name}` | {option.type} | {to_text(option.default)} | {option.meaning} |"
        )
    yield ""


def _facts(cell: derive.Cell) -> str:
    state = sympy.Add(*(sympy.Mul(*map(_width, shape)) for shape in cell.states.values()))
    trained = sympy.Add(
        *(
            sympy.Mul(*map(_width, shape))
            for name, shape in cell.params.items()
            if name not in cell.checked.fixed
        )
    )
    table = cell.step.program.table()
    products = [
        multiply_adds(equation, table)
        for equation in cell.step.program.equations
        if isinstance(equation, Matmul) and table[equation.out].per_row
    ]
    return (
        f"State `{sympy.expand(state)}`, parameters `{sympy.expand(trained)}`, "
        f"multiply-adds `{polynomial(sympy.Add(*products))}`."
    )


def _speed(family: str) -> str:
    found = SPEED["families"][family]
    named = ", ".join(f"{name} = {width}" for name, width in found["named"].items())
    widths = f" ({named})" if named else ""
    times = found["milliseconds"]
    return f"Training{widths}: {times:.3g} ms, {found['lstm']:.2g} times the LSTM's."


def _width(dim: object) -> sympy.Expr:
    return sympy.sympify(str(dim), locals={name: sympy.Symbol(name) for name in "INSEQHDKMPR"})


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
