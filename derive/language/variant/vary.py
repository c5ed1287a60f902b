"""Variants by transformation. Gates are replaced, removed, tied; functions swapped.

In: a Checked cell and what is to change.  Out: another, with a name and a doc of its own.
Not here: the line `vary lstm: o = 1` (catalogue/vary_text.py), single expressions (vary_terms.py).

Changes are made in this order: arrays are declared, definitions become states, names are tied,
functions are swapped, things are removed, definitions are replaced or added, outputs are chosen,
names are changed. What nothing uses afterwards, and was used before, disappears; definitions are
put in an order in which each can be computed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from derive.errors import ArgumentError, ArgumentTypeError, CellError, Place
from derive.language import declare as from_text
from derive.language import from_sympy, names, parse_expression, parse_text
from derive.language.checked import Checked
from derive.language.declaration import Constant, Declaration, Declared, Definition, Dim, Output
from derive.language.names import NEXT, closest, next_of
from derive.language.parse_declared import declared
from derive.language.tokens import Source, Statement
from derive.language.tree import Name, Node, Number, names_of
from derive.language.variant import vary_terms
from derive.language.variant.rewriting import in_order, substituted
from derive.language.variant.vary_options import check_options

NOWHERE = Place("<varied>", 1, 1, "")

Swaps = Mapping[str, str | Mapping[str, str]]


def vary(
    cell: Checked,
    *,
    name: str | None = None,
    doc: str | None = None,
    replace: Mapping[str, Any] | None = None,
    remove: str | Iterable[str] = (),
    tie: Mapping[str, str] | None = None,
    activation: Swaps | None = None,
    rename: Mapping[str, str] | None = None,
    states: Mapping[str, Dim] | Iterable[str] = (),
    consts: Mapping[str, Any] | None = None,
    declare: str | Iterable[str] = (),
    outputs: str | Iterable[str] = (),
    **definitions: Any,
) -> Checked:
    """A variant of `cell`; `Cell.vary` says what the arguments mean."""
    check_options(
        mappings={"replace": replace, "activation": activation, "consts": consts},
        names={"tie": tie, "rename": rename},
        lists={"remove": remove, "declare": declare, "outputs": outputs},
    )
    replace = {**(replace or {}), **definitions}
    draft = _Draft(cell)
    removed = _several(remove)
    lines, wanted = _several(declare), _several(outputs)
    for line in lines:
        draft.declare(line)
    remembered = states if isinstance(states, Mapping) else dict.fromkeys(states, "H")
    for target, width in remembered.items():
        draft.remember(target, width)
    for target, other in (tie or {}).items():
        draft.tie(target, other)
    draft.swap(activation or {})
    draft.remove(removed)
    draft.consts |= {key: _read(key, value) for key, value in (consts or {}).items()}
    draft.replace({target: _read(target, value) for target, value in (replace or {}).items()})
    draft.choose(wanted)
    draft.rename(rename or {})
    parts = [
        *(line.split(":")[0].split()[-1] for line in lines if line.split()),
        *remembered,
        *(f"{k}_{v}" for k, v in (tie or {}).items()),
        *(activation or {}),
        *removed,
    ]
    said = _said(cell, tie, activation, removed, replace, rename, remembered, lines, wanted)
    parts += [f"{k}_{v}" for k, v in (replace or {}).items()]
    parts += [f"output_{key}" for key in wanted]
    given = name or _name(cell, parts)
    if fault := names.fault(given):
        raise ArgumentError(fault[0], hint=fault[1])
    return draft.finish(given, said if doc is None else doc)


def _several(given: Any) -> list[Any]:
    """One, or several: what is no text is looked at later."""
    several = isinstance(given, Iterable) and not isinstance(given, str)
    return list(given) if several else [given]


def _said(
    cell: Checked,
    tie: Mapping[str, str] | None,
    activation: Swaps | None,
    removed: Sequence[str],
    replace: Mapping[str, Any] | None,
    rename: Mapping[str, str] | None,
    states: Iterable[str],
    lines: Sequence[str],
    outputs: Sequence[str],
) -> str:
    """The cell's doc, and what was changed."""
    changes = [" ".join(line.split()) for line in lines]
    changes += [f"{k} = {v}" for k, v in (tie or {}).items()]
    for key, to in (activation or {}).items():
        if isinstance(to, str):
            changes.append(f"{to} {'for' if key in vary_terms.FUNCTIONS else 'in'} {key}")
        else:
            changes += [f"{new} for {old} in {key}" for old, new in to.items()]
    changes += [f"without {key}" for key in removed]
    changes += [f"{key} is a state" for key in states]
    changes += [f"{k} = {' '.join(str(v).split())}" for k, v in (replace or {}).items()]
    changes += [f"output {key}" for key in outputs]
    changes += [f"{new} for {old}" for old, new in (rename or {}).items()]
    line = f"Variant of {cell.name}: {', '.join(changes) or 'no change'}."
    return f"{cell.doc}\n{line}" if cell.doc else line


def _name(cell: Checked, parts: Sequence[str]) -> str:
    """The cell's name and, as far as they read well, the changes: lstm_o_1."""
    words = [re.sub(r"\W+", "_", part).strip("_") for part in parts]
    short = [word if len(word) < 12 else word.partition("_")[0] for word in words]
    return "_".join([cell.name, *(short or ["varied"])])


def _read(target: str, value: Any) -> Node:
    """Text, a number or a SymPy expression, as a tree."""
    if not isinstance(target, str):
        raise ArgumentTypeError(f"{target!r} is no name of a definition")
    if not isinstance(value, str):
        return from_sympy.read(value)
    statement = Statement(Source(f"<{target}>", (value,)), 1, value)
    if not value.strip():
        raise ArgumentError(f"'{target}' is replaced by nothing", hint=f"remove='{target}'")
    return parse_expression.read(statement, 0, len(value))


class _Draft:
    """The parts of a cell while they change."""

    def __init__(self, cell: Checked) -> None:
        self.cell = cell
        found = cell.declaration
        self.inputs = {d.name: d.shape for d in found.inputs}
        self.states = {d.name: d.shape for d in found.states}
        self.params = {d.name: d.shape for d in found.params}
        self.shapes: dict[str, tuple[Dim, ...]] = dict(cell.params)
        declared = (*found.states, *found.params)
        self.starts = {d.name: d.start for d in declared if d.start is not None}
        self.once = set(cell.once)
        self.fixed = {d.name: d.shape for d in found.fixed}
        self.new: set[str] = set()
        self.consts = {c.name: c.expr for c in found.consts}
        self.equations = {d.target: d.expr for d in found.definitions}
        self.outputs = [output.name for output in found.outputs]
        self.gone: set[str] = set()
        self.idle = set(self.equations) - self._needed() | self._idle_params(found)

    def _idle_params(self, found: Declaration) -> set[str]:
        used = {n.name for d in found.definitions for n in names_of(d.expr)}
        return {*self.params, *self.consts} - used

    # --- the changes ------------------------------------------------------------------------

    def declare(self, line: str) -> None:
        """`input m: M once`, `param W: N x D x I`: a line of a cell's text."""
        if not isinstance(line, str):
            raise ArgumentTypeError(f"{line!r} is no line of a cell's text", hint=_DECLARE)
        word, _, rest = line.strip().partition(" ")
        groups = {"input": self.inputs, "state": self.states, "param": self.params,
                  "fixed": self.fixed}  # fmt: skip
        if word not in groups or not rest.strip():
            raise ArgumentError(f"'{line}' declares nothing", hint=_DECLARE)
        statement = Statement(Source("<declare>", (rest,)), 1, rest)
        usual = {"input": "I", "state": "H"}.get(word)
        for start, end in parse_text.items(statement, 0):
            own = declared(statement, start, end, word, usual)
            known = {*self.inputs, *self.states, *self.consts, *self.equations, *self.fixed}
            known |= set(map(next_of, self.states))
            if own.name in known or (own.name in self.shapes and word != "param"):
                raise ArgumentError(
                    f"{self.cell.name} has '{own.name}' already",
                    hint="rename={...}   gives one of them another name",
                )
            groups[word][own.name] = own.shape
            self.new.add(own.name)
            if word in ("param", "fixed") and own.shape is not None:
                self.shapes[own.name] = own.shape
            if own.start is not None:
                self.starts[own.name] = own.start
            if own.once:
                self.once.add(own.name)

    def choose(self, outputs: Sequence[str]) -> None:
        """Other outputs than those of the cell."""
        if not outputs:
            return
        nexts = map(next_of, self.states)
        known = [*self.equations, *self.states, *self.inputs, *self.shapes, *nexts]
        keys = [self._key(output) for output in outputs]
        for key in keys:
            if key not in known:
                raise self._unknown(key, known)
        self.outputs = keys

    def remember(self, target: str, width: Dim) -> None:
        """A definition becomes the next value of a state of its name."""
        if target not in self.equations or target.removesuffix(NEXT) in self.states:
            raise self._unknown(target, self._plain())
        after = next_of(target)
        self.states[target] = (width,)
        self._use({target: Name(after, NOWHERE)})
        self.equations = {after if t == target else t: e for t, e in self.equations.items()}

    def tie(self, target: str, other: str) -> None:
        """`target` goes, and `other` stands where it stood."""
        target, other = self._key(target), self._key(other)
        for kind in (self.states, self.params | self.shapes, self._plain()):
            if target in kind:
                if other not in kind or other == target:
                    raise self._unknown(other, [known for known in kind if known != target])
                break
        else:
            raise self._unknown(target, [*self._plain(), *self.states, *self.shapes])
        self.starts.pop(target, None)
        self.fixed.pop(target, None)
        if target in self.states:
            del self.states[target], self.equations[next_of(target)]
            self.gone.add(next_of(target))
            self._use({next_of(target): Name(next_of(other), NOWHERE)})
        self.gone.add(target)
        self.equations.pop(target, None)
        self.params.pop(target, None)
        self._use({target: Name(other, NOWHERE)})

    def swap(self, swaps: Swaps) -> None:
        for key, to in swaps.items():
            if isinstance(key, str) and key in vary_terms.FUNCTIONS:
                if not isinstance(to, str):
                    raise ArgumentTypeError(f"{key} is swapped for a function, not {to!r}")
                self._swap(tuple(self.equations), key, to)
                continue
            target = self._key(key)
            if target not in self.equations:
                raise self._unknown(target, [*self._plain(), "tanh", "sigmoid"])
            for old, new in ({None: to} if isinstance(to, str) else dict(to)).items():
                self._swap((target,), old or self._only_function(target), new)

    def _only_function(self, target: str) -> str:
        found = vary_terms.functions_in(self.equations[target])
        if len(found) == 1:
            return found[0]
        what = f"'{target}' has {'several functions' if found else 'no function'}"
        raise ArgumentError(
            f"{what} that could be swapped",
            facts=(f"{target} = {self._text(self.equations[target])}",),
            hint=f'activation={{"{target}": {{"{found[0]}": "identity"}}}}' if found else None,
        )

    def _swap(self, targets: Iterable[str], old: str, new: str) -> None:
        if new not in (*vary_terms.FUNCTIONS, "identity"):
            near = closest(new, (f for f in vary_terms.FUNCTIONS if f != old))
            raise ArgumentError(
                f"there is no activation '{new}'", hint=f"did you mean '{near}'?" if near else None
            )
        found = [t for t in targets if old in vary_terms.functions_in(self.equations[t])]
        if not found:
            where = f"'{targets[0]}'" if isinstance(targets, tuple) and len(targets) == 1 else ""
            raise ArgumentError(f"{where or self.cell.name} has no {old} to swap for {new}")
        for target in found:
            self.equations[target] = vary_terms.swapped(self.equations[target], old, new)

    def remove(self, given: Iterable[str]) -> None:
        """Definitions leave the products that they stand in; parameters are zero."""
        for name in map(self._key, given):
            if name in self._plain():
                del self.equations[name]
                self.gone.add(name)
                for target, expr in self.equations.items():
                    self.equations[target] = self._without(name, target, expr)
            elif name in self.shapes:
                self.params.pop(name, None)
                self.fixed.pop(name, None)
                self.starts = {
                    key: start for key, start in self.starts.items()
                    if key != name and not (isinstance(start, Name) and start.name == name)
                }  # fmt: skip
                for target, expr in self.equations.items():
                    self.equations[target] = vary_terms.zeroed(expr, name) or _ZERO
            else:
                raise self._unknown(name, [*self._plain(), *self.shapes])

    def _without(self, name: str, target: str, expr: Node) -> Node:
        found = vary_terms.without_factor(expr, name)
        if any(part.name == name for part in names_of(found)):
            raise ArgumentError(
                f"'{name}' is more than a factor, so it cannot be removed",
                facts=(f"{target} = {self._text(expr)}",),
                hint=f"{name} = 1   replaces it",
            )
        return found

    def replace(self, given: Mapping[str, Node]) -> None:
        new = {self._key(target): expr for target, expr in given.items()}
        used = {
            n.name for expr in [*new.values(), *self.equations.values()] for n in names_of(expr)
        }
        for target, expr in new.items():
            for part in names_of(expr):
                if part.name in self.gone - set(new):
                    what = f"'{target}' is replaced by something of '{part.name}', which is gone"
                    raise ArgumentError(what, facts=(f"{target} = {self._text(expr)}",))
            state = target.removesuffix(NEXT)
            taken = {*self.inputs, *self.states, *self.shapes, *self.consts}
            if target in taken:
                hint = f"{target}' = ..." if target in self.states else None
                raise ArgumentError(f"'{target}' of {self.cell.name} is no definition", hint=hint)
            is_new = target not in self.equations
            if not is_new:  # in its own right side a name is what it was
                expr = substituted(expr, {target: self.equations[target]})
            next_of_new = target != state and state in self.new
            misplaced = target not in used or (target != state and state in self.states)
            if is_new and misplaced and not next_of_new:
                raise self._unknown(target, self.equations)
            self.equations[target] = expr

    def rename(self, given: Mapping[str, str]) -> None:
        known = {*self.inputs, *self.states, *self.shapes, *self.params, *self.consts}
        known |= {*self.fixed, *self._plain()}
        for old, new in given.items():
            if old not in known:
                raise self._unknown(old, sorted(known))
            if fault := names.fault(new):
                raise ArgumentError(fault[0], hint=fault[1])
            if new in known and new not in given:
                raise ArgumentError(f"'{old}' cannot be called '{new}': there is one already")
        full = dict(given)
        full |= {next_of(old): next_of(new) for old, new in given.items() if old in self.states}
        nodes: dict[str, Node] = {old: Name(new, NOWHERE) for old, new in full.items()}
        self._use(nodes)
        self.consts = {k: substituted(v, nodes) for k, v in self.consts.items()}
        self.starts = {k: substituted(v, nodes) for k, v in self.starts.items()}
        self.once = {full.get(name, name) for name in self.once}
        kinds = ("inputs", "states", "params", "fixed", "starts", "shapes", "consts", "equations")
        for group in kinds:
            table = getattr(self, group)
            setattr(self, group, {full.get(key, key): value for key, value in table.items()})
        self.idle = {full.get(name, name) for name in self.idle}

    # --- afterwards -------------------------------------------------------------------------

    def finish(self, name: str, doc: str) -> Checked:
        needed = self._needed() | self.idle
        self.equations = {t: e for t, e in in_order(self.equations).items() if t in needed}
        used = {n.name for expr in self.equations.values() for n in names_of(expr)}
        consts = used | {n.name for expr in self.consts.values() for n in names_of(expr)}
        used |= {s.name for s in self.starts.values() if isinstance(s, Name)}
        wanted = used | self.idle | self.new
        self.params = {key: shape for key, shape in self.params.items() if key in wanted}
        self.fixed = {key: shape for key, shape in self.fixed.items() if key in wanted}
        self.starts = {
            key: start for key, start in self.starts.items()
            if key in {*self.states, *self.params}
        }  # fmt: skip
        self.consts = {k: v for k, v in self.consts.items() if k in wanted | consts}
        try:
            found = self._cell(name, doc, self.params)
            if all(self.shapes.get(k, shape) == shape for k, shape in found.params.items()):
                return found
        except CellError:
            pass  # a width that the old equations told, and the new ones do not
        known = {
            key: shape for key, shape in self.shapes.items()
            if key in wanted and key not in self.fixed
        }  # fmt: skip
        return self._cell(name, doc, known)

    def _cell(self, name: str, doc: str, params: Mapping[str, Any]) -> Checked:
        def all_of(group: Mapping[str, Any]) -> tuple[Declared, ...]:
            return tuple(
                Declared(key, shape, NOWHERE, self.starts.get(key), key in self.once)
                for key, shape in group.items()
            )

        declaration = Declaration(
            name=name,
            doc=doc,
            inputs=all_of(self.inputs),
            states=all_of(self.states),
            params=all_of(params),
            consts=tuple(Constant(key, expr, NOWHERE) for key, expr in self.consts.items()),
            definitions=tuple(Definition(t, e, NOWHERE) for t, e in self.equations.items()),
            outputs=tuple(Output(key, NOWHERE) for key in dict.fromkeys(self.outputs)),
            place=NOWHERE,
            fixed=all_of(self.fixed),
        )
        return from_text.from_declaration(declaration, f"<{name}>")

    def _needed(self) -> set[str]:
        """Definitions that a next value or an output needs."""
        found: set[str] = set()
        waiting = [*self.outputs, *map(next_of, self.states)]
        while waiting:
            name = waiting.pop()
            if name in self.equations and name not in found:
                found.add(name)
                waiting += [part.name for part in names_of(self.equations[name])]
        return found

    def _use(self, mapping: Mapping[str, Node]) -> None:
        self.equations = {t: substituted(e, mapping) for t, e in self.equations.items()}
        new = {old: node.name for old, node in mapping.items() if isinstance(node, Name)}
        self.outputs = [new.get(name, name) for name in self.outputs]

    def _key(self, name: Any) -> str:
        """`h'` is h_next."""
        if not isinstance(name, str):
            raise ArgumentTypeError(f"{name!r} is no name")
        plain = name.strip()
        return next_of(plain[:-1]) if plain.endswith("'") else plain

    def _plain(self) -> list[str]:
        """Definitions, without the next values of states."""
        nexts = set(map(next_of, self.states))
        return [target for target in self.equations if target not in nexts]

    def _text(self, node: Node) -> str:
        from derive.language.tree import to_text

        return to_text(node, frozenset(self.states))

    def _unknown(self, name: str, known: Iterable[str]) -> ArgumentError:
        words = list(dict.fromkeys(known))
        near = closest(name, words)
        return ArgumentError(
            f"{self.cell.name} has no '{name}' that could be changed so",
            facts=(f"it has: {', '.join(words) or 'nothing'}",),
            hint=f"did you mean '{near}'?" if near else None,
        )


_DECLARE = 'declare="input m: M once"'
_ZERO: Node = Number("0", NOWHERE)
