"""Kernel: a compiled cell, called with arrays; the same for every target.

In: a Signature and a Backend.  Out: `Kernel` with init, forward, backward and step.
Not here: what they return (run.py), checking and converting arguments (arguments.py), generating
and building the code behind a Backend. SymPy is not imported.

Shapes are written with T time steps, B batch rows, and a width for each array.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from derive.errors import ArgumentError, ArgumentTypeError
from derive.kernel.arguments import Arguments
from derive.kernel.backend import Backend
from derive.kernel.call import Call
from derive.kernel.convert import MOST, check_room, kind_text, to_count, zeros
from derive.kernel.fast.prepared_calls import Repeats
from derive.kernel.fingerprint import Look, fingerprint, small_fingerprint
from derive.kernel.packed import Packed
from derive.kernel.remat import Remat
from derive.kernel.run import Gradients, Run
from derive.kernel.signature import Array, Arrays, Axes, Signature, Sizes, names_in
from derive.kernel.starts import initial
from derive.kernel.stream import Stream, Turn
from derive.kernel.wanted import Partial, only, to_wanted
from derive.kernel.watched import changed_array, watched_arrays
from derive.kernel.weights import to_weights

if TYPE_CHECKING:
    from derive.kernel.tune.backend import Tuned
    from derive.kernel.tune.search import Tuning


@dataclass(frozen=True, slots=True)
class Origin:
    """What makes another kernel of the same cell: `make(*options, wrt=wrt)`; it can be pickled."""

    make: Callable[..., Kernel]
    options: tuple[Any, ...]
    wrt: tuple[str, ...] | None


class Kernel:
    """A compiled cell. Safe to call from several threads at once; nothing but `tune` changes it.

    Wherever arrays are asked for, any array-like of the right shape and a real dtype is
    accepted; a bare array stands for the only input, output or state, a mapping from names is
    always accepted. Results are fresh arrays of the kernel's dtype. Wrong names, shapes and
    values raise ArgumentError (a ValueError), wrong types and dtypes ArgumentTypeError
    (a TypeError), before anything is computed.

    A kernel can be pickled, copied and sent to another process, which compiles it again or finds
    it in the cache.
    """

    __slots__ = (
        "_arguments",
        "_backend",
        "_looks",
        "_origin",
        "_repeats",
        "_wanting",
        "dtype",
        "name",
        "signature",
        "target",
    )  # fmt: skip

    def __init__(
        self,
        signature: Signature,
        backend: Backend,
        dtype: Any,
        *,
        target: str = "",
        looks: tuple[Look, Look] = (fingerprint, small_fingerprint),
        origin: Origin | None = None,
    ) -> None:
        """looks: fingerprints that take little time, and those that take little memory.  origin:
        what makes another kernel like this one."""
        self.signature = signature
        self.name = signature.name
        self.dtype = np.dtype(dtype)
        self.target = target
        self._backend = backend
        self._looks = looks
        self._origin = origin
        self._arguments = Arguments(signature, self.dtype)
        self._repeats = Repeats(self._arguments)
        self._wanting: dict[tuple[str, ...], Partial] = {}

    def __repr__(self) -> str:
        return f"<Kernel {' '.join(filter(None, (self.name, self.target, str(self.dtype))))}>"

    def __reduce__(self) -> tuple[Any, ...]:
        """Copies and other processes get a kernel that is compiled from the same text, or found in
        the cache, with what `tune` found so far. Machine code is never sent."""
        if self._origin is None:
            raise ArgumentTypeError(
                f"{self!r} cannot be copied or sent to another process",
                facts=("it was made of generated files, not of a cell",),
                hint="send the cell, and call derive.compile(cell) there",
            )
        return _again, (self._origin, self.tuned)

    @property
    def compiles_for_some(self) -> bool:
        """Whether `backward(run, wrt=names)` compiles a backward pass for these names: not if the
        kernel was made of given files."""
        return self._origin is not None

    def init(
        self, sizes: Mapping[str, int] | None = None, /, *, seed: int = 0, **named: int
    ) -> Arrays:
        """Parameters to start training from: `kernel.init(I=5, H=4, seed=0)`.

        Matrices are uniform in +-sqrt(6 / (rows + columns)) (Glorot & Bengio 2010, eq. 16),
        vectors uniform in +-1 / sqrt(width), PyTorch's rule for biases; a parameter that its cell
        gives a start, `param b: H = 1`, has that. Fixed arrays are left out. Drawn in float64, in
        declared order, then rounded: one seed gives the same parameters for every target and,
        up to rounding, every dtype. A dimension called `seed` goes into the mapping `sizes`.
        """
        needed = [
            name
            for own, shape in self.signature.params.items()
            if own not in self.signature.fixed
            for axis in shape
            for name in names_in(axis)
        ]
        lengths = self._lengths("init(", sizes, named, needed)
        random = np.random.Generator(np.random.PCG64(to_count(seed, "seed")))
        return initial(self.signature, lengths, random, self.dtype)

    def forward(
        self,
        params: Mapping[str, Any],
        x: Any,
        state: Any = None,
        lengths: Any = None,
        reverse: bool = False,
        training: bool = True,
        remat: str | None = None,
    ) -> Run:
        """All steps of all rows.

        x: [T, B, I], or {input name: array}; of a cell without inputs an empty [T, B, 0].
        state: {name: [B, width]}, zeros where left out.
        lengths: [B] integers in 0..T; past its end a row puts out 0 and keeps its states.
        reverse: each row runs its own steps last to first; outputs stay at their time.
        training: keep what `backward` needs.
        remat: "time" keeps but the states before each of about sqrt(T) pieces of the sequence.
        `backward` then runs every piece forward again; the gradient is the same to the bit.
        """
        plain = lengths is None and remat is None
        if plain and (found := self._repeats.forward(params, x, state, reverse, training)):
            ready, given, given_inputs, (outputs, states, saved) = found
            return Run(self, ready.call, outputs, states, saved, b"", ready, (given, given_inputs))
        call = self._arguments.of_forward(params, x, state, lengths, reverse, training, remat)
        saved, seen = None, b""
        if call.sizes.steps and call.sizes.rows:
            if call.remat and call.training:
                backend = Remat(self._backend)
                call = backend.packed(call)
                outputs, states, saved = backend.forward(call)
            else:
                outputs, states, saved = self._backend.forward(call)
                if plain:
                    self._repeats.saw(self._backend, call)
            if call.training:
                seen = self._looks[call.remat is not None](watched_arrays(call))
        else:
            outputs = self._empty(call.sizes, self.signature.outputs)
            states = {name: array.copy() for name, array in call.states.items()}
        return Run(self, call, outputs, states, saved if call.training else None, seen)

    def run_of(self, call: Call, outputs: Arrays, states: Arrays, saved: Any) -> Run:
        """The run of a training call made beside others, its parameters in the kernel's order."""
        call = replace(call, params={name: call.params[name] for name in self.signature.params})
        seen = self._looks[0](watched_arrays(call))
        return Run(self, call, outputs, states, saved, seen)

    def check_unchanged(self, run: Run) -> None:
        """ArgumentError where an array that `backward` reads again was written into since."""
        look = self._looks[0]
        if look(watched_arrays(run._call)) != run._seen:
            raise changed_array(run._call, run._seen, look)

    def gradients_of(
        self, run: Run, d_params: Arrays, d_inputs: Arrays, d_states: Arrays
    ) -> Gradients:
        """What a backward pass that was made beside others found, as `backward` gives it."""
        return self._gradients(run._call, d_params, d_inputs, d_states)

    def backward(
        self, run: Run, d_outputs: Any = None, d_states: Any = None, wrt: Any = None
    ) -> Gradients:
        """Gradients of a scalar loss, given its gradients with respect to a run's results.

        d_outputs: {output name: [T, B, width]}; d_states: {state name: [B, width]}, with
        respect to the last states. Left out means zero. Where nothing ran (T = 0 or B = 0) the
        gradients of parameters are zero and d_states is the gradient of the initial states.

        wrt: names of parameters, inputs and states whose gradients are wanted; the result holds
        those alone, and what only the others need is not computed. The first call with other names
        compiles a backward pass for them, or finds it in the cache. None: all.
        """
        if not isinstance(run, Run):
            raise ArgumentTypeError(
                f"run must be what forward returned, not {kind_text(run)}",
                hint="run = kernel.forward(params, x)",
            )
        if run._kernel is not self:
            raise ArgumentError(
                "the run is of another kernel",
                facts=(f"it was made by {run._kernel!r}", f"this is {self!r}"),
                hint="call backward of the kernel whose forward made the run",
            )
        if not run.training:
            raise ArgumentError(
                "the run kept nothing that backward needs",
                facts=("it was made with training=False",),
                hint="kernel.forward(..., training=True)",
            )
        given = run._call.params if run._given is None else run._given[0]
        if type(given) is Packed and given._weights is not None:
            raise ArgumentError(
                f"parameters packed with weights={given._weights!r} have no gradient",
                facts=("their matrices are rounded, for inference",),
                hint="run = kernel.forward(kernel.pack(params), x)",
            )
        names = None if wrt is None else to_wanted(wrt, self.signature)
        if names is not None and names != self.signature.wrt:
            return self._partial(names).backward(run, d_outputs, d_states)
        if found := self._repeats.backward(run, d_outputs, d_states):
            return self._gradients(run._call, *found)
        call, saved, seen, look = self._repeats.thorough(run) or (
            run._call, run._saved, run._seen, self._looks[run.remat is not None]
        )  # fmt: skip
        d_out, d_last = self._arguments.of_backward(call.sizes, d_outputs, d_states)
        if not (call.sizes.steps and call.sizes.rows):
            return self._gradients_of_nothing(call, d_last)
        if look(watched_arrays(call)) != seen:
            raise changed_array(call, seen, look)
        backend = Remat(self._backend) if call.remat else self._backend
        return self._gradients(call, *backend.backward(call, saved, d_out, d_last))

    def _partial(self, names: tuple[str, ...]) -> Partial:
        """Computes these gradients of runs of this kernel."""
        if names not in self._wanting:
            origin, kernel = self._origin, None
            if origin is not None:
                kernel = origin.make(*origin.options, wrt=names)
            self._wanting[names] = Partial(names, self, kernel)
        return self._wanting[names]

    def pack(self, params: Mapping[str, Any], weights: str | None = None) -> Packed:
        """Parameters checked, copied and packed once: stands for `params` in every call.

        Worth it where many short calls share their parameters. Changing the arrays given
        afterwards changes nothing.

        weights: "bfloat16" or "int8" for inference of few rows, which waits for weights to be read:
        matrices are rounded to 16 bits, or to 8 with a scale for each row of what is summed
        together, and multiplied with float32. Of kernels for C and float32. Such parameters
        have no gradient.
        """
        thin = to_weights(weights, self.target, self.dtype)
        if thin is not None:
            self._backend.check_weights(thin)
        sizes, arrays, axes = self._arguments.pack(params)
        panels = self._backend.pack(sizes, arrays, thin)
        return Packed(arrays, self._arguments, axes, panels, thin)

    def stream(
        self, params: Mapping[str, Any], rows: int = 1, state: Any = None, **named: int
    ) -> Stream:
        """A cell that is fed one step at a time and keeps its states: `output = stream(x_t)`.

        rows: how many sequences run side by side. state: {name: [rows, width]}, zeros where left
        out. named: lengths of dimensions that no parameter tells, as in `init`.
        """
        packed = params if type(params) is Packed else self.pack(params)
        call, axes = self._arguments.of_stream(packed, rows, state, named)
        sizes, signature = call.sizes, self.signature

        def fresh(widths: Mapping[str, Axes], label: str) -> Arrays:
            shapes = {name: (sizes.rows, *sizes.lengths(width)) for name, width in widths.items()}
            return {n: zeros(s, self.dtype, f"{label} {n}") for n, s in shapes.items()}

        outputs = fresh(signature.outputs, "output")
        states = {n: a.copy() for n, a in call.states.items()}, fresh(signature.states, "state")
        turns: tuple[Turn, Turn] = _nothing, _nothing
        if sizes.rows:
            turns = self._backend.turns(call, outputs, states)
        return Stream(call.inputs, outputs, states, turns, self._arguments, axes, packed)

    def tune(
        self,
        sizes: Mapping[str, int] | None = None,
        /,
        *,
        T: int | None = None,
        B: int | None = None,
        **named: int,
    ) -> Tuning:
        """Measures alternatives for calls of T steps and B rows, and uses the fastest from then on.

            print(kernel.tune(T=100, B=32, I=128, H=128))

        All of them give the same bits, so nothing changes but the time. The winner serves calls
        with the same rows and widths and half to twice as many steps. It is remembered in the
        cache of compiled kernels: kernels of the same cell, dtype and threads that are compiled
        later, in any process, use it as well. Takes seconds, and compiles some alternatives.
        Dimensions called T or B go into the mapping `sizes`.
        """
        dims = self.signature.dims()
        lengths = self._lengths("tune(T=100, B=32, ", sizes, named, dims)
        counts = {"T": to_count(T, "T", most=MOST), "B": to_count(B, "B", most=MOST)}
        for name, length in (*counts.items(), *lengths.items()):
            if length == 0:
                raise ArgumentError(f"{name} = 0, so there is nothing to measure", hint=f"{name}=1")
        for name, width in (*self.signature.inputs.items(), *self.signature.outputs.items()):
            shape = Sizes(counts["T"], counts["B"], lengths).lengths(width)
            check_room(name, (counts["T"], counts["B"], *shape), self.dtype.itemsize)
        from derive.kernel.tune.search import tune

        found = tune(self, Sizes(counts["T"], counts["B"], {dim: lengths[dim] for dim in dims}))
        self._repeats.forget()  # they call what was best until now
        return found

    @property
    def tuned(self) -> tuple[Tuned, ...]:
        """The winners in use, those found in earlier processes included."""
        from derive.kernel.tune.backend import tuned

        return tuned(self._backend)

    def untune(self) -> None:
        """Forgets what `tune` found for any sizes, in the cache as well."""
        from derive.kernel.tune.backend import untune

        untune(self._backend)
        self._repeats.forget()

    def step(
        self, params: Mapping[str, Any], x_t: Any, state: Any = None
    ) -> tuple[Array | Arrays, Arrays]:
        """One step: `output, state = kernel.step(params, x_t, state)`.

        x_t: [B, I], or {input name: array}; of a cell without inputs None.  output: [B, width],
        or {name: array} where the cell has several.  state: {name: [B, width]}.
        """
        if found := self._repeats.forward(params, x_t, state, False, False, step=True):
            outputs, states, _ = found[3]
            return (next(iter(outputs.values())) if len(outputs) == 1 else outputs), states
        call = self._arguments.of_step(params, x_t, state)
        if call.sizes.rows:
            outputs, states = self._backend.step(call)
            self._repeats.saw(self._backend, call)
        else:
            widths = self.signature.outputs.items()
            sizes = call.sizes
            outputs = {n: zeros((0, *sizes.lengths(w)), self.dtype, n) for n, w in widths}
            states = {name: array.copy() for name, array in call.states.items()}
        if len(outputs) == 1:
            return next(iter(outputs.values())), states
        return outputs, states

    def _lengths(
        self,
        call: str,
        sizes: Mapping[str, Any] | None,
        named: Mapping[str, Any],
        axes: Iterable[str | int],
    ) -> dict[str, int]:
        """Lengths of dimensions, those of `axes` at least; call: the beginning of a good one."""
        if not isinstance(sizes, Mapping | None):
            raise ArgumentTypeError(
                f"sizes must be a mapping from dimensions to lengths, not {kind_text(sizes)}",
                hint=f"kernel.{call}H=4)",
            )
        given = {**(sizes or {}), **named}
        lengths = self._arguments.lengths(given)
        needed = list(dict.fromkeys(axis for axis in axes if isinstance(axis, str)))
        if missing := [name for name in needed if name not in given]:
            names = ", ".join(missing)
            example = ", ".join(f"{name}={given.get(name, 4)}" for name in needed)
            raise ArgumentError(
                f"{call.partition('(')[0]} needs the length of {names}",
                facts=(f"{self.name} takes {', '.join(needed)}",),
                hint=f"kernel.{call}{example})",
            )
        return lengths

    def _empty(self, sizes: Sizes, widths: Mapping[str, Axes]) -> Arrays:
        """Zeros [T, B, width] for each name."""
        return {
            name: zeros((sizes.steps, sizes.rows, *sizes.lengths(width)), self.dtype, name)
            for name, width in widths.items()
        }

    def _gradients_of_nothing(self, call: Call, d_last: Mapping[str, Array | None]) -> Gradients:
        """T = 0 or B = 0: the last states are the initial ones, and nothing else took part."""
        sizes, d_states = call.sizes, {}
        for name, width in self.signature.states.items():
            d_state = d_last[name]
            if d_state is None:
                d_state = np.zeros((sizes.rows, *sizes.lengths(width)), self.dtype)
            d_states[name] = d_state.copy()
        d_params = {name: np.zeros_like(array) for name, array in call.params.items()}
        return self._gradients(call, d_params, self._empty(sizes, self.signature.inputs), d_states)

    def _gradients(
        self, call: Call, d_params: Arrays, d_inputs: Arrays, d_states: Arrays
    ) -> Gradients:
        """Of what a caller gave, and wants: fixed arrays have none, those of inputs that were given
        once are sums over time, and a start that was learned has the sum over rows of its state's.
        A backend computes those of all states, which the loop carries."""
        own = self.signature
        for name in own.fixed:
            d_params.pop(name, None)
        for name in own.once:
            if name in d_inputs:
                d_inputs[name] = d_inputs[name].sum(axis=0)
        for state in call.learned:
            start = own.learned[state]
            if start in d_params:
                total = d_states[state].sum(axis=0)
                shape = d_params[start].shape
                d_params[start] += total if total.shape == shape else total.sum().reshape(shape)
        return only(own.wrt, d_params, d_inputs, d_states)


def _again(origin: Origin, tuned: Iterable[Tuned]) -> Kernel:
    """A kernel like another one."""
    from derive.kernel.tune.backend import adopt

    kernel = origin.make(*origin.options, wrt=origin.wrt)
    adopt(kernel._backend, tuned)
    return kernel


def _nothing() -> None:
    """A step of no rows."""
