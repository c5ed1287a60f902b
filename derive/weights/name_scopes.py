"""Names around arrays: scopes, prefixes, layers, trees, axes of directions.

In: what a caller gave as arrays, and options.  Out: {local name: ndarray}, where local names
are those of the tables (systems.py); and back.
Not here: what is in an array (blocks.py).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.convert import closest, dtype_text, kind_text, shape_text
from derive.kernel.signature import Array, Arrays
from derive.weights.systems import Layout, System

#: What stands between a scope and a name.
_SEPARATORS = "/."
#: PyTorch's parameters are also found in flat archives: enc_weight_ih_l0.
_FLAT = "/._"
_OTHER_LAYER = re.compile(r".+_l\d+(_reverse)?")


def local_arrays(
    system: System, given: Any, prefix: str | None, options: Mapping[str, Any]
) -> Arrays:
    """The arrays of one layer and direction, by their local names."""
    named = _flat(system, given)
    suffix = suffix_of(system, options)
    scope = _only_scope(system, named, suffix) if prefix is None else prefix
    found: Arrays = {}
    for name, value in named.items():
        local = _local(system, name, scope, suffix)
        if local is None:
            continue
        if local not in system.names:
            if any(mark in local for mark in _SEPARATORS) or scope.endswith("_"):
                continue  # of a module inside, or of another one in a flat archive
            raise ArgumentError(
                f"{system.title} has no array {name!r} in a recurrent cell",
                facts=(f"its arrays are {', '.join(system.names)}",),
                hint=closest(local, system.names),
            )
        found[local] = _read(value, name)
    if not found:
        raise ArgumentError(
            f"no array of {system.title} was found",
            facts=(
                f"given: {', '.join(named) or 'nothing'}",
                f"looked for: {', '.join(scope + n + suffix for n in system.names[:4])}, ...",
            ),
            hint=_elsewhere(system, named, suffix),
        )
    return _of_direction(found, options["direction"]) if system.name == "onnx" else found


def by_names(
    system: System, given: Any, names: Mapping[str, str], prefix: str | None,
    options: Mapping[str, Any],
) -> dict[str, Any]:  # fmt: skip
    """The arrays of an archive by the system's names, as `names` tells them."""
    if not isinstance(names, Mapping):
        raise ArgumentTypeError(
            f"names must be a mapping from the names of {system.title} to those of the archive, "
            f"not {kind_text(names)}",
            hint=f"names={{{system.names[0]!r}: 'my_array'}}",
        )
    named = _flat(system, given)
    found = {}
    for own, theirs in names.items():
        if own not in system.names:
            raise ArgumentError(
                f"{system.title} has no array {own!r} in a recurrent cell",
                facts=(f"its arrays are {', '.join(system.names)}",),
                hint=closest(own, system.names),
            )
        if (whole := f"{prefix or ''}{theirs}") not in named:
            raise ArgumentError(
                f"the archive has no array {whole!r}",
                facts=(f"it has {', '.join(named) or 'none'}",),
                hint=closest(whole, named),
            )
        found[own + suffix_of(system, options)] = named[whole]
    return found


def global_arrays(
    system: System, arrays: Arrays, prefix: str | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """The arrays by the system's own names."""
    suffix = suffix_of(system, options)
    named = {f"{prefix or ''}{name}{suffix}": array for name, array in arrays.items()}
    if system.name == "onnx":
        return {name: array[np.newaxis] for name, array in named.items()}
    return _tree(named) if options.get("nested") else named


def suffix_of(system: System, options: Mapping[str, Any]) -> str:
    """PyTorch's "_l0", "_l1_reverse"; nothing elsewhere, and with layer=None (LSTMCell)."""
    if system.name != "pytorch" or options["layer"] is None:
        return ""
    return f"_l{options['layer']}" + ("_reverse" if options["reverse"] else "")


def missing(system: System, layout: Layout, name: str, arrays: Iterable[str]) -> ArgumentError:
    return ArgumentError(
        f"the array {name!r} of {system.title} is missing",
        facts=(
            f"given: {', '.join(arrays) or 'nothing'}",
            f"needed: {', '.join(entry.name for entry in layout.entries if not entry.feature)}",
        ),
    )


# --- names ----------------------------------------------------------------------------------


def flat_arrays(system: System, given: Any) -> dict[str, Any]:
    """{name: value} of anything that `load` takes as arrays."""
    return _flat(system, given)


def _flat(system: System, given: Any) -> dict[str, Any]:
    """{name: value}: trees by paths, TensorFlow's ":0" taken off, None left out."""
    if system.name == "keras" and isinstance(given, Sequence) and not isinstance(given, str):
        names = ("kernel", "recurrent_kernel", "bias")  # layer.get_weights()
        if not 2 <= len(given) <= 3:
            raise ArgumentError(
                f"{len(given)} arrays are no recurrent layer of Keras",
                facts=(f"a list is {', '.join(names)}, the last one if there is any",),
            )
        return dict(zip(names, given, strict=False))
    if not isinstance(given, Mapping):
        raise ArgumentTypeError(
            f"arrays must be a mapping from names to arrays, not {kind_text(given)}",
            hint=f"{{{system.layouts[0].entries[0].name!r}: ...}}",
        )
    named: dict[str, Any] = {}
    for key, value in given.items():
        if isinstance(value, Mapping):
            named |= {f"{key}/{name}": leaf for name, leaf in _flat(system, value).items()}
        elif value is not None:
            named[re.sub(r":\d+$", "", str(key))] = value
    return {k.replace(".", "/"): v for k, v in named.items()} if system.nested else named


def _local(system: System, name: str, scope: str, suffix: str) -> str | None:
    """The name inside the scope; None where it belongs to something else."""
    if not name.startswith(scope):
        return None
    name = name[len(scope) :]
    if suffix:
        if name.endswith(suffix):
            return name[: -len(suffix)]
        # Without a layer it is a cell, torch.nn.LSTMCell, and that has only the first.
        if _OTHER_LAYER.fullmatch(name) or suffix != "_l0":
            return None
    elif system.name == "pytorch" and _OTHER_LAYER.fullmatch(name):
        return None
    return name


def _only_scope(system: System, named: Iterable[str], suffix: str) -> str:
    """Where the arrays lie: at the top, or in the only place that has all arrays of a layout."""
    names = tuple(named)
    scopes = _scopes(system, names, suffix)
    if "" in scopes or not scopes:
        return ""
    if len(scopes) > 1:
        raise ArgumentError(
            f"there are several recurrent cells in the arrays of {system.title}",
            facts=(f"at: {', '.join(scopes)}",),
            hint=f"prefix={scopes[0]!r}",
        )
    return scopes[0]


def scopes_in(system: System, named: Iterable[str], options: Mapping[str, Any]) -> list[str]:
    """Every place that has all arrays of a layout, for a layer and direction."""
    return _scopes(system, tuple(named), suffix_of(system, {**system.options, **options}))


def _scopes(system: System, names: Sequence[str], suffix: str) -> list[str]:
    """Scopes with all arrays of a layout, without those inside another: gates/ of a GRU."""
    known = {name + suffix for name in system.names}
    candidates = {""}
    separators = _FLAT if system.name == "pytorch" else _SEPARATORS
    for name in names:
        for k, character in enumerate(name):
            if character in separators and name[k + 1 :] in known:
                candidates.add(name[: k + 1])
    complete = [s for s in sorted(candidates) if _complete(system, names, s, suffix)]
    return [
        s for s in complete if not any(s != other and s.startswith(other) for other in complete)
    ]


def _complete(system: System, names: Sequence[str], scope: str, suffix: str) -> bool:
    found = {_local(system, name, scope, suffix) for name in names}
    return any(
        all(found & {entry.name, *entry.aliases} for entry in layout.entries if not entry.feature)
        for layout in system.layouts
    )


def _elsewhere(system: System, names: Mapping[str, Any], suffix: str) -> str | None:
    """The option that would have found something."""
    if system.name == "pytorch":
        if any(name.endswith("weight_ih") for name in names):
            return "layer=None, for the arrays of torch.nn.LSTMCell, GRUCell and RNNCell"
        layers = sorted({m[1] for n in names if (m := re.search(r"weight_ih_l(\d+)", n))})
        if layers:
            return f"layer={layers[0]}"
    scopes = _scopes(system, tuple(names), suffix)
    return f"prefix={scopes[0]!r}" if scopes else None


def _tree(named: Mapping[str, Array]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for path, array in named.items():
        *inner, last = path.split("/")
        node = tree
        for part in inner:
            node = node.setdefault(part, {})
        node[last] = array
    return tree


# --- arrays ---------------------------------------------------------------------------------


def _read(value: Any, name: str) -> Array:
    """Any array-like, a torch tensor that needs a gradient included."""
    value = value.detach() if hasattr(value, "detach") else value
    try:
        array = np.asarray(value)
    except Exception as error:
        raise ArgumentTypeError(
            f"the array {name!r} cannot be read",
            facts=(f"it was given as {kind_text(value)}", f"{type(error).__name__}: {error}"),
            hint="convert it to a NumPy array first",
        ) from error
    if array.dtype.kind not in "fiub":
        raise ArgumentTypeError(
            f"the array {name!r} must hold real numbers, not {dtype_text(array)}"
        )
    return array


def _of_direction(arrays: Arrays, direction: str) -> Arrays:
    """One direction of each array. A node of direction reverse has only that one."""
    found = {}
    for name, array in arrays.items():
        if array.ndim < 2 or array.shape[0] not in (1, 2):
            raise ArgumentError(
                f"{name} of ONNX has a leading axis of 1 or 2 directions",
                facts=(f"given {shape_text(array.shape)}",),
                hint=f"{name}[np.newaxis]",
            )
        found[name] = array[-1 if direction == "reverse" else 0]
    return found
