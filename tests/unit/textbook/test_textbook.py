"""Printed gradients, line by line against derivations written down by hand.

Notation of the derivations: d_v is d loss / d v for each row; * is element by element; a_k is the
argument of gate k. Everything follows from d_v = sum over readers r of v: d_r * (dr/dv), from
sigma' = sigma (1 - sigma), tanh' = 1 - tanh^2, and from d_v = W' d_r for r = W v.
"""

from __future__ import annotations

import pytest

import derive
from derive.inspect import show


def gradient_of(spec: str) -> dict[str, str]:
    """{name: right-hand side} of the printed gradient."""
    text = show(derive.cells.from_spec(spec), ("gradient",))
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, sign, value = line.strip().partition(" = ")
        if sign and " " not in name.strip():
            found[name.strip()] = value.strip()
        elif found and line.startswith("   ") and line.strip():
            found[list(found)[-1]] += " " + line.strip()
    return found


def gates(letters: str, source: str, matrix: str) -> dict[str, str]:
    """Weight gradients of gates: d_W_k = d_a_k x', summed over the rows."""
    return {f"d_{matrix}_{k}": f"outer(d_a_{k}, {source})" for k in letters}


def back(letters: str, matrix: str) -> str:
    """What comes back through the products of all gates: sum of W_k' d_a_k."""
    return " + ".join(f"{matrix}_{k}.T @ d_a_{k}" for k in letters)


#: h' = o tanh(c'), c' = i g + f c. From h': d_o and, through tanh, the second term of d_c'; the
#: first comes from the next step. From c': d_i, d_g, d_f, d_c.
LSTM = {
    "d_h_next": "d_h_next_output + d_h_carry",
    "d_o": "d_h_next * tanh(c_next)",
    "d_c_next": "d_c_carry + d_h_next * o * (1 - tanh(c_next)**2)",
    "d_i": "d_c_next * g",
    "d_g": "d_c_next * i",
    "d_f": "d_c_next * c",
    "d_c": "d_c_next * f",
    **{f"d_a_{k}": f"d_{k} * {k} * (1 - {k})" for k in "ifo"},
    "d_a_g": "d_g * (1 - g**2)",
    "d_h": back("ifgo", "U"),
    "d_x": back("ifgo", "W"),
    **gates("ifgo", "x", "W"),
    **gates("ifgo", "h", "U"),
    **{f"d_b_{k}": f"sum_rows(d_a_{k})" for k in "ifgo"},
}

#: The output gate sees c', the other two see c: one term more in d_c' and two in d_c.
PEEPHOLE = {
    **LSTM,
    "d_c_next": "d_c_carry + d_h_next * o * (1 - tanh(c_next)**2) + d_a_o * p_o",
    "d_c": "d_c_next * f + d_a_i * p_i + d_a_f * p_f",
    "d_p_i": "sum_rows(d_a_i * c)",
    "d_p_f": "sum_rows(d_a_f * c)",
    "d_p_o": "sum_rows(d_a_o * c_next)",
}

#: h' = z h + (1 - z) n, so d_z = d_h' (h - n); n = tanh(W x + r (U h + b)), so U_n's product
#: receives d_a_n r, and r receives d_a_n times that product with its bias.
GRU = {
    "d_h_next": "d_h_next_output + d_h_carry",
    "d_z": "d_h_next * (h - n)",
    "d_n": "d_h_next * (1 - z)",
    "d_a_n": "d_n * (1 - n**2)",
    "d_r": "d_a_n * (U_n @ h + b_hn)",
    "d_U_n_h": "d_a_n * r",
    "d_a_z": "d_z * z * (1 - z)",
    "d_a_r": "d_r * r * (1 - r)",
    "d_h": "d_h_next * z + U_r.T @ d_a_r + U_z.T @ d_a_z + U_n.T @ d_U_n_h",
    "d_x": back("rzn", "W"),
    **gates("rzn", "x", "W"),
    **gates("rz", "h", "U"),
    "d_U_n": "outer(d_U_n_h, h)",
    **{f"d_b_{k}": f"sum_rows(d_a_{k})" for k in "rzn"},
    **{f"d_b_h{k}": f"sum_rows(d_a_{k})" for k in "rz"},
    "d_b_hn": "sum_rows(d_U_n_h)",
}

#: n = tanh(W x + U (r h)): the cotangent comes back through U first, then splits into r and h.
GRU_BEFORE = {
    "d_h_next": "d_h_next_output + d_h_carry",
    "d_z": "d_h_next * (h - n)",
    "d_n": "d_h_next * (1 - z)",
    "d_a_n": "d_n * (1 - n**2)",
    "d_U_n_arg": "U_n.T @ d_a_n",
    "d_r": "d_U_n_arg * h",
    "d_a_z": "d_z * z * (1 - z)",
    "d_a_r": "d_r * r * (1 - r)",
    "d_h": "d_h_next * z + d_U_n_arg * r + U_r.T @ d_a_r + U_z.T @ d_a_z",
    "d_x": back("rzn", "W"),
    **gates("rzn", "x", "W"),
    **gates("rz", "h", "U"),
    "d_U_n": "outer(d_a_n, U_n_arg)",
    **{f"d_b_{k}": f"sum_rows(d_a_{k})" for k in "rzn"},
}


def normalised(k: str) -> dict[str, str]:
    """y = (v - mean v) / sqrt(var + e), var = mean (v - mean v)^2, of H units:
    d_var = -1/2 (var + e)^(-3/2) sum d_y (v - mean v);
    d_(v - mean v) = d_y / sqrt(var + e) + 2/H d_var (v - mean v), less its mean in d_v."""
    return {
        f"d_variance_{k}": f"-sum(d_layer_norm_{k} * centred_{k})"
        f" / (2 * (variance_{k} + 1e-05)**(3 / 2))",
        f"d_centred_{k}": f"d_layer_norm_{k} / sqrt(variance_{k} + 1e-05)"
        f" + 2 * d_variance_{k} * centred_{k} / |H|",
    }


def layer_norm_lstm() -> dict[str, str]:
    """Each gate is gamma LN(W x + U h) + beta, and h' = o tanh(gamma_c LN(c') + beta_c)."""
    lines = {k: v for k, v in LSTM.items() if k[2:3] not in "WUb" and k not in ("d_h", "d_x")}
    lines |= {
        "d_o": "d_h_next * tanh_h_next",
        "d_tanh_arg": "d_h_next * o * (1 - tanh_h_next**2)",
        "d_layer_norm_c_next": "d_tanh_arg * gamma_c",
        **normalised("c_next"),
        "d_c_next": "d_c_carry + d_centred_c_next - mean(d_centred_c_next)",
        "d_gamma_c": "sum_rows(d_tanh_arg * layer_norm_c_next)",
        "d_beta_c": "sum_rows(d_tanh_arg)",
    }
    for k in "ifgo":
        lines |= {
            f"d_layer_norm_{k}": f"d_a_{k} * gamma_{k}",
            **normalised(k),
            f"d_layer_norm_arg_{k}": f"d_centred_{k} - mean(d_centred_{k})",
            f"d_W_{k}": f"outer(d_layer_norm_arg_{k}, x)",
            f"d_U_{k}": f"outer(d_layer_norm_arg_{k}, h)",
            f"d_gamma_{k}": f"sum_rows(d_a_{k} * layer_norm_{k})",
            f"d_beta_{k}": f"sum_rows(d_a_{k})",
        }
    lines["d_h"] = " + ".join(f"U_{k}.T @ d_layer_norm_arg_{k}" for k in "ifgo")
    lines["d_x"] = " + ".join(f"W_{k}.T @ d_layer_norm_arg_{k}" for k in "ifgo")
    return lines


@pytest.mark.parametrize(
    ("spec", "wanted"),
    [
        ("lstm", LSTM),
        ("lstm:peephole=true", PEEPHOLE),
        ("gru", GRU),
        ("gru:reset=before", GRU_BEFORE),
        ("lstm:layer_norm=supercell", layer_norm_lstm()),
    ],
)
def test_the_printed_gradient_is_that_of_a_textbook(spec: str, wanted: dict[str, str]) -> None:
    found = gradient_of(spec)
    assert {name: value for name, value in found.items() if name.startswith("d_")} == wanted


def test_what_the_author_named_goes_before_what_has_no_name() -> None:
    """Ba's form, one mean and deviation over all gates: no line for the argument of its square
    root, none for the squares whose mean is the variance."""
    found = gradient_of("lstm_layer_norm_ba2016")
    assert found["d_var_h"] == "d_sd_h / (2 * sd_h)"
    assert found["d_Uh_i"] == (
        "d_a_i * gamma_h_i / sd_h + d_var_h * (Uh_i - mean_h) / (2 * |H|) + d_mean_h / (4 * |H|)"
    )
    assert not [name for name in found if "mean_arg" in name or name == "a_sd_h"]
