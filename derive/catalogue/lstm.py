"""Long short-term memory, with every published option.

- The cell: Hochreiter & Schmidhuber 1997, Neural Computation 9(8); its forget gate: Gers,
  Schmidhuber & Cummins 2000, Neural Computation 12(10).
- Peepholes: Gers, Schraudolph & Schmidhuber 2002, JMLR 3; Graves 2013, arXiv 1308.0850
  (diagonal, the output gate sees the new cell state).
- Projection: Sak, Senior & Beaufays 2014, arXiv 1402.1128, without the
  non-recurrent projection.
- Coupled gates: Greff et al. 2017, arXiv 1503.04069, variant CIFG. There f = 1 - i; here
  i = 1 - f, so that forget_bias keeps its meaning.
- Clipping, and the forget bias added at run time: TensorFlow 1, LSTMCell.
- Layer normalisation: Ba, Kiros & Hinton 2016, arXiv 1607.06450, supplementary material. Four
  published forms compute different functions:

  | layer_norm | a gate sees                         | the cell state is stored | h sees     |
  | ---------- | ----------------------------------- | ------------------------ | ---------- |
  | ba2016     | LN(W x) + LN(U h) + b, all gates    | as it is                 | LN(c')     |
  | fastrnns   | LN(W x) + LN(U h), all gates        | normalised               | c'         |
  | tensorflow | LN(W x + U h), gate by gate         | normalised               | c'         |
  | supercell  | LN(W x + U h), gate by gate         | as it is                 | LN(c')     |

  "All gates": one mean and one variance over the pre-activations of all gates together, as
  they lie in one vector there. `ba2016` adds its three shifts up to b, as haste does;
  `fastrnns` (PyTorch's benchmark) keeps a shift for each LN and has no b. `tensorflow` is
  LayerNormBasicLSTMCell of TensorFlow 1; `supercell` is that of hardmaru/supercell. The
  epsilon is 1e-5 in all; TensorFlow has 1e-12 and supercell 1e-3.

- One kernel for all gates, joined: BasicLSTMCell and LSTMCell of TensorFlow 1, whose code is
  i, j, f, o = split([x; h] K + b), j the candidate. The same function: `derive equal` proves it.

Where options meet: peepholes and the forget bias are added after normalisation; cell_clip acts
on the cell state that is stored, before the output gate and the output see it.

Equation numbers not checked.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, Literal

from sympy import Eq, Rational, sqrt

from derive.catalogue.option import (
    Activation,
    Draft,
    Text,
    applied,
    family,
    function_of,
    stacked,
    to_text,
)
from derive.errors import ArgumentError
from derive.symbolic.functions import LAYER_NORM_EPSILON, clip
from derive.symbolic.heads import ArraySymbol, arrays, layer_norm, mean

Function = Callable[[Any], Any]
LayerNorm = Literal["ba2016", "fastrnns", "tensorflow", "supercell"]


@family
def lstm(
    *,
    forget_bias: Annotated[float, "added to the forget gate's pre-activation at run time"] = 0.0,
    peephole: Annotated[bool, "i and f see the cell state, o the next one, by p_i p_f p_o"] = False,
    projection: Annotated[bool, "h' = W_p m of width P; the gates see the projected h"] = False,
    cell_clip: Annotated[float | None, "bound on the size of c', before o and h' see it"] = None,
    proj_clip: Annotated[float | None, "bound on the size of h', after the projection"] = None,
    coupled: Annotated[bool, "no input gate of its own: i = 1 - f"] = False,
    activation: Annotated[Activation, "of the candidate g and of the output"] = "tanh",
    recurrent_activation: Annotated[Activation, "of the gates i, f, o"] = "sigmoid",
    layer_norm: Annotated[LayerNorm | None, "which published form of layer normalisation"] = None,
    joined: Annotated[bool, "one kernel K and one b for all gates, on [x; h]"] = False,
) -> Draft | Text:
    """Long short-term memory; gates in the order i, f, g (the candidate), o."""
    _check(projection, cell_clip, proj_clip)
    if joined:
        if coupled or layer_norm:
            raise ArgumentError(
                "joined of lstm is TensorFlow's form, with four gates and no layer norm",
                hint="joined=True, peephole=True",
            )
        bounds = {"cell_clip": cell_clip, "proj_clip": proj_clip, "forget_bias": forget_bias}
        return _joined(peephole, projection, bounds, activation, recurrent_activation)
    act, gate = function_of(activation), function_of(recurrent_activation)
    c, h_next, c_next, i, f, g, o, W_p = arrays("c h_next c_next i f g o W_p")
    p_i, p_f, p_o = arrays("p_i p_f p_o") if peephole else (0, 0, 0)
    (bias,) = arrays("forget_bias") if forget_bias else (0,)

    gates, width = ("f g o" if coupled else "i f g o"), ("P" if projection else "H")
    definitions, a, params = _FORMS[layer_norm](gates, width)
    stored, seen = _cell_norm(layer_norm, params)
    if peephole:
        params |= stacked({"p": ("H",)}, gates.replace("g ", ""))
    if projection:
        params["W_p"] = ("P", "H")

    f_equation = Eq(f, gate(a["f"] + p_f * c + bias))
    m = o * act(seen(c_next))
    equations = [
        *definitions,
        *([f_equation, Eq(i, 1 - f)] if coupled else [Eq(i, gate(a["i"] + p_i * c)), f_equation]),
        Eq(g, act(a["g"])),
        Eq(c_next, _clipped(stored(f * c + i * g), "cell_clip", cell_clip)),
        Eq(o, gate(a["o"] + p_o * c_next)),
        Eq(h_next, _clipped(W_p @ m, "proj_clip", proj_clip) if projection else m),
    ]
    consts: dict[str, Any] = {
        "forget_bias": forget_bias or None,
        "cell_clip": cell_clip,
        "proj_clip": proj_clip,
    }
    if layer_norm in ("ba2016", "fastrnns"):
        consts["epsilon"] = LAYER_NORM_EPSILON
    return Draft(
        doc=_doc(peephole, projection, coupled, layer_norm),
        equations=equations,
        states={"h": width, "c": "H"},
        params=params,
        consts={name: value for name, value in consts.items() if value is not None},
        starts={name: 1 for name in params if name.startswith("gamma")},
    )


def _check(projection: bool, cell_clip: float | None, proj_clip: float | None) -> None:
    for name, bound in (("cell_clip", cell_clip), ("proj_clip", proj_clip)):
        if bound is not None and bound <= 0:
            raise ArgumentError(f"{name} of lstm is a positive bound, not {bound:g}")
    if proj_clip is not None and not projection:
        raise ArgumentError(
            "proj_clip of lstm bounds the projection, and there is none",
            hint=f"projection=True, proj_clip={proj_clip:g}",
        )


def _clipped(v: Any, name: str, bound: float | None) -> Any:
    """clip(v, -bound, bound), the bound by its name."""
    (symbol,) = arrays(name)
    return v if bound is None else clip(v, -symbol, symbol)


def _joined(
    peephole: bool,
    projection: bool,
    numbers: dict[str, float | None],
    activation: str,
    recurrent_activation: str,
) -> Text:
    """One kernel for the gates i, j, f, o, as text."""
    width = "P" if projection else "H"
    p_i, p_f, p_o = (" + p_i * c", " + p_f * c", " + p_o * c'") if peephole else ("", "", "")
    bias = " + forget_bias" if numbers["forget_bias"] else ""
    gates = {
        gate: applied(recurrent_activation, f"{gate}{rest}")
        for gate, rest in (("i", p_i), ("f", p_f + bias), ("o", p_o))
    }
    cell = f"{gates['f']} * c + {gates['i']} * {applied(activation, 'j')}"
    out = f"{gates['o']} * {applied(activation, 'c' + chr(39))}"
    out = f"W_p @ ({out})" if projection else out
    if numbers["cell_clip"] is not None:
        cell = f"clip({cell}, -cell_clip, cell_clip)"
    if numbers["proj_clip"] is not None:
        out = f"clip({out}, -proj_clip, proj_clip)"
    params = [f"param  K: 4*H x I + {width}, b: 4*H = 0"]
    params += ["param  W_p: P x H"] if projection else []
    params += ["param  p_i: H, p_f: H, p_o: H"] if peephole else []
    consts = [f"const  {name} = {to_text(value)}" for name, value in numbers.items() if value]
    lines = [
        "input  x: I",
        f"state  h: {width}, c: H",
        *params,
        *consts,
        "",
        "i, j, f, o = split(K @ concat(x, h) + b, 4)",
        f"c' = {cell}",
        f"h' = {out}",
        "",
        "output h'",
    ]
    doc = _doc(peephole, projection, False, None) + "\nOne kernel for all gates: TensorFlow 1."
    return Text(doc=doc, text="\n".join(lines))


def _doc(peephole: bool, projection: bool, coupled: bool, layer_norm: str | None) -> str:
    lines = ["Long short-term memory. Hochreiter & Schmidhuber 1997; Gers et al. 2000."]
    if peephole:
        lines.append("Peepholes: Gers et al. 2002; Graves 2013, arXiv 1308.0850.")
    if projection:
        lines.append("Projection: Sak et al. 2014, arXiv 1402.1128.")
    if coupled:
        lines.append("Coupled gates, i = 1 - f: Greff et al. 2017, arXiv 1503.04069, CIFG.")
    if layer_norm:
        lines.append(f"Layer norm ({layer_norm}): Ba et al. 2016, arXiv 1607.06450.")
    return "\n".join(lines)


# --- pre-activations ------------------------------------------------------------------------

Params = dict[str, tuple[str, ...]]
PreActivations = tuple[list[Eq], dict[str, Any], Params]


def _plain(gates: str, width: str) -> PreActivations:
    """W_k x + U_k h + b_k."""
    x, h = arrays("x h")
    a = {}
    for k in gates.split():
        W, U, b = arrays(f"W_{k} U_{k} b_{k}")
        a[k] = W @ x + U @ h + b
    return [], a, stacked({"W": ("H", "I"), "U": ("H", width), "b": ("H",)}, gates)


def _gate_by_gate(gates: str, width: str) -> PreActivations:
    """gamma_k LN(W_k x + U_k h) + beta_k."""
    x, h = arrays("x h")
    a = {}
    for k in gates.split():
        W, U, gamma, beta = arrays(f"W_{k} U_{k} gamma_{k} beta_{k}")
        a[k] = gamma * layer_norm(W @ x + U @ h) + beta
    shapes = {"W": ("H", "I"), "U": ("H", width), "gamma": ("H",), "beta": ("H",)}
    return [], a, stacked(shapes, gates)


def _ba2016(gates: str, width: str) -> PreActivations:
    """gamma_x_k LN(W x)_k + gamma_h_k LN(U h)_k + b_k."""
    equations, a, params = _all_gates(gates, width)
    for k in gates.split():
        (b,) = arrays(f"b_{k}")
        a[k] += b
    return equations, a, params | stacked({"b": ("H",)}, gates)


def _fastrnns(gates: str, width: str) -> PreActivations:
    """gamma_x_k LN(W x)_k + beta_x_k + gamma_h_k LN(U h)_k + beta_h_k."""
    equations, a, params = _all_gates(gates, width)
    for k in gates.split():
        beta_x, beta_h = arrays(f"beta_x_{k} beta_h_{k}")
        a[k] += beta_x + beta_h
    return equations, a, params | stacked({"beta_x": ("H",), "beta_h": ("H",)}, gates)


def _all_gates(gates: str, width: str) -> PreActivations:
    """LN over the stacked vectors W x and U h: one mean, one deviation for all gates."""
    names = gates.split()
    share = Rational(1, len(names))
    x, h, epsilon = arrays("x h epsilon")
    equations: list[Eq] = []
    a: dict[str, Any] = dict.fromkeys(names, 0)
    for source, matrix, vector in (("x", "W", x), ("h", "U", h)):
        parts: list[ArraySymbol] = []
        for k in names:
            M, product = arrays(f"{matrix}_{k} {matrix}{source}_{k}")
            equations.append(Eq(product, M @ vector))
            parts.append(product)
        mu, var, sd = arrays(f"mean_{source} var_{source} sd_{source}")
        equations += [
            Eq(mu, share * sum(mean(part) for part in parts)),
            Eq(var, share * sum(mean((part - mu) ** 2) for part in parts)),
            Eq(sd, sqrt(var + epsilon)),
        ]
        for k, part in zip(names, parts, strict=True):
            (gamma,) = arrays(f"gamma_{source}_{k}")
            a[k] += gamma * (part - mu) / sd
    shapes = {"W": ("H", "I"), "U": ("H", width), "gamma_x": ("H",), "gamma_h": ("H",)}
    return equations, a, stacked(shapes, gates)


_FORMS: dict[str | None, Callable[[str, str], PreActivations]] = {
    None: _plain,
    "ba2016": _ba2016,
    "fastrnns": _fastrnns,
    "tensorflow": _gate_by_gate,
    "supercell": _gate_by_gate,
}


# --- the cell state -------------------------------------------------------------------------


def _cell_norm(form: str | None, params: Params) -> tuple[Function, Function]:
    """How the cell state is normalised where it is stored, and where h' sees it."""
    if form is None:
        return _same, _same
    gamma_c, beta_c = arrays("gamma_c beta_c")
    params |= {"gamma_c": ("H",), "beta_c": ("H",)}

    def normal(c: Any) -> Any:
        return gamma_c * layer_norm(c) + beta_c

    return (normal, _same) if form in ("fastrnns", "tensorflow") else (_same, normal)


def _same(v: Any) -> Any:
    return v
