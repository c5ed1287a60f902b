r"""Papers of cells with a matrix for a state, `S_t = f_t S_{t-1} + v_t k_t^\top`, are read."""

from __future__ import annotations

import pytest
import structure_checks

import derive
from derive.cli import main
from derive.papers import read
from derive.program import interpret

#: LaTeX as a paper prints it, and lines of the cell.
MEMORIES = {
    "gated deltanet: identity less an outer product": (
        r"""
\begin{align}
\mathbf{S}_{t} = \mathbf{S}_{t-1}\left(\alpha_t(\mathbf{I} - \beta_t \boldsymbol{k}_t
\boldsymbol{k}_t^\intercal)\right) + \beta_t\boldsymbol{v}_t \boldsymbol{k}_t^\intercal,
\qquad \boldsymbol{o}_t = \mathbf{S}_t \boldsymbol{q}_t
\end{align}
where $\alpha_t = \sigma(w_a^\top x_t)$, $\beta_t = \sigma(w_b^\top x_t)$ and
$\boldsymbol{q}_t = W_q x_t$, $\boldsymbol{k}_t = W_k x_t$, $\boldsymbol{v}_t = W_v x_t$.
""",
        (
            "S'    = alpha * S - alpha * beta * outer(S @ k, k) + beta * outer(v, k)",
            "o     = S' @ q",
            "state  S: P x H",
        ),
    ),
    "deltanet: several at once, and an equation that goes on": (
        r"""
\begin{align}
\mathbf{q}_t, \mathbf{k}_t, \mathbf{v}_t &= \mathbf{W}_Q \mathbf{x}_t, \mathbf{W}_K \mathbf{x}_t,
\mathbf{W}_V \mathbf{x}_t, \\
\beta_t &= \sigma(\mathbf{W}_\beta \mathbf{x}_t), \\
\mathbf{S}_t &= \mathbf{S}_{t-1} - \beta_t \left( \mathbf{S}_{t-1} \mathbf{k}_t - \mathbf{v}_t
\right) \mathbf{k}_t^\intercal \\
&= \mathbf{S}_{t-1} \left(\mathbf{I} - \beta_t \mathbf{k}_t \mathbf{k}_t^\intercal\right)
+ \beta_t \mathbf{v}_t \mathbf{k}_t^\intercal, \\
\mathbf{o}_t &= \mathbf{S}_t \mathbf{q}_t
\end{align}
""",
        ("S'   = S - beta * outer(S @ k, k) + beta * outer(v, k)", "q    = W_Q @ x"),
    ),
    "deltanet: what is missing times the key": (
        r"S_t = S_{t-1} - \beta_t (S_{t-1} k_t - v_t) k_t^\top \\ o_t = S_t q_t",
        ("S' = S - beta * outer(S @ k - v, k)",),
    ),
    "kda: a delta rule on a decay for each column": (
        r"S_t = (I - \beta_t k_t k_t^\top) \mathrm{Diag}(\alpha_t) S_{t-1} + \beta_t k_t v_t^\top"
        r"\\ o_t = S_t^\top q_t",
        (
            "S' = alpha * S - beta * outer(k, (alpha * S).T @ k) + beta * outer(k, v)",
            "o  = S'.T @ q",
        ),
    ),
    "gla: rows, ones, and a shape behind": (
        r"""
\begin{align*}
\mathbf{S}_t = (\boldsymbol{\alpha}_t^\top \mathbf{1}) \odot \mathbf{S}_{t-1}
+ \mathbf{k}_t^\top \mathbf{v}_t = \mathrm{Diag}(\boldsymbol{\alpha}_t) \mathbf{S}_{t-1}
+ \mathbf{k}_t^\top \mathbf{v}_t,
\end{align*}
\begin{equation}
\boldsymbol{\alpha}_t = \sigma(\mathbf{x}_t \mathbf{W}_\alpha + \mathbf{b}_\alpha)^{\frac{1}{\tau}}
\in \mathbb{R}^{1 \times d_k}
\end{equation}
$$\mathbf{q}_t = \mathbf{x}_t \mathbf{W}_Q, \quad \mathbf{k}_t = \mathbf{x}_t \mathbf{W}_K, \quad
\mathbf{v}_t = \mathbf{x}_t \mathbf{W}_V, \quad \mathbf{o}_t = \mathbf{q}_t \mathbf{S}_t$$
""",
        ("S'    = alpha * S + outer(k, v)", "o     = S'.T @ q", "state  S: d_k x H"),
    ),
    "rows and ones": (
        r"S_t = (\alpha_t^\top \mathbf{1}) \odot S_{t-1} + k_t^\top v_t \\ o_t = q_t S_t",
        ("S' = alpha * S + outer(k, v)", "input  alpha: H, k: H, v: P, q: H"),
    ),
    "retention: a layer by its name": (
        r"S_n &= \gamma S_{n-1} + K_n^{\intercal} V_n \\"
        r"\mathrm{Retention}(X_n) &= Q_n S_n, \quad n = 1, \cdots, |x|",
        ("S'        = gamma * S + outer(K, V)", "Retention = S'.T @ Q", "param  gamma: 1"),
    ),
    "rwkv-6: a word for an array": (
        r"""
\begin{align}
w_t &= \exp(-\exp(d_t)) \\
\bm{wkv}_t &= \bm{S}_{t-1} + \mathrm{diag}(u) \cdot k_t^\top \cdot v_t \\
\bm{S}_t &= \mathrm{diag}(w_t) \cdot \bm{S}_{t-1} + k_t^\top \cdot v_t \\
o_t &= r_t \cdot \bm{wkv}_t
\end{align}
""",
        ("wkv = S + outer(u * k, v)", "S'  = w * S + outer(k, v)", "o   = wkv.T @ r"),
    ),
    "rwkv-7: a diagonal less an outer product": (
        r"""
\begin{equation}
\bm{wkv}_t = \bm{wkv}_{t-1} \left( \mathrm{diag}(w_t) - \hat{\kappa}_t^T (a_t \odot \hat{\kappa}_t)
\right) + v_t^T \tilde{k}_t
\end{equation}
\begin{equation} p_t = r_t \bm{wkv}_t^T \end{equation}
""",
        (
            "wkv' = w * wkv - outer(wkv @ kappa_hat, a * kappa_hat) + outer(v, k_tilde)",
            "p    = wkv' @ r",
        ),
    ),
    "linear attention: a normaliser beside": (
        r"""
\begin{align}
s_0 &= 0, \\ z_0 &= 0, \\
s_i &= s_{i-1} + \phi\left(x_i W_K\right) \left(x_i W_V\right)^T, \\
z_i &= z_{i-1} + \phi\left(x_i W_K\right), \\
y_i &= \frac{\phi\left(x_i W_Q\right)^T s_i}{\phi\left(x_i W_Q\right)^T z_i}
\end{align}
""",
        (
            "s' = s + outer(tanh(W_K @ x), W_V @ x)",
            "y  = s'.T @ tanh(W_Q @ x) / sum(tanh(W_Q @ x) * z')",
        ),
    ),
    "mlstm: columns of words, two forms of a gate": (
        r"""
\begin{align}
C_t &= \mathrm{f}_t \ C_{t-1} + \mathrm{i}_t \ v_t k_t^\top & & \text{cell state} \\
n_t &= \mathrm{f}_t \ n_{t-1} + \mathrm{i}_t \ k_t & & \text{normalizer state} \\
h_t &= o_t \odot \tilde{h}_t, \qquad \tilde{h}_t = C_t q_t / \max\left\{ \left| n_t^\top q_t
\right|, 1 \right\} & & \text{hidden state} \\
q_t &= W_q x_t + b_q & & \text{query input} \\
k_t &= \frac{1}{\sqrt{d}} W_k x_t + b_k & & \text{key input} \\
v_t &= W_v x_t + b_v & & \text{value input} \\
\mathrm{i}_t &= \exp(\tilde{\mathrm{i}}_t), & \tilde{\mathrm{i}}_t &= w_i^\top x_t + b_i &
\text{input gate} \\
\mathrm{f}_t &= \sigma(\tilde{\mathrm{f}}_t) \text{ OR } \exp(\tilde{\mathrm{f}}_t),
& \tilde{\mathrm{f}}_t &= w_f^\top x_t + b_f & \text{forget gate} \\
o_t &= \sigma(\tilde{o}_t), & \tilde{o}_t &= W_o x_t + b_o & \text{output gate}
\end{align}
""",
        (
            "C'      = f * C + i * outer(v, k)",
            "f       = sigmoid(f_tilde)",
            "h_tilde = C' @ q / maximum(abs(sum(n' * q)), 1)",
            "param  b_f: 1",
            "param  d: 1",
            "state  C: P x H, n: H",
        ),
    ),
    "an outer product by its sign": (
        r"S_t = f_t S_{t-1} + v_t \otimes k_t \\ y_t = S_t q_t",
        ("S' = f * S + outer(v, k)", "y  = S' @ q"),
    ),
    "fast weights: an outer product with a sign": (
        r"""
\begin{align}
\mathbf{W}^{(i)} &= \mathbf{W}^{(i-1)} + \beta^{(i)} (\mathbf{v}^{(i)} - \bar{\mathbf{v}}^{(i)})
\otimes \phi(\mathbf{k}^{(i)}) \\
\bar{\mathbf{v}}^{(i)} &= \mathbf{W}^{(i-1)} \phi(\mathbf{k}^{(i)}) \\
\mathbf{y}^{(i)} &= \mathbf{W}^{(i)} \phi(\mathbf{q}^{(i)})
\end{align}
""",
        ("v_bar = W @ tanh(k)", "W'    = W + outer(beta * (v - v_bar), tanh(k))"),
    ),
    "comba: a number less an outer product": (
        r"S_t = S_{t-1} (\alpha_t - \tilde\beta_t k_t k_t^{\intercal}) + \beta_t v_t k_t^\intercal,"
        r"\quad o_t = S_t (q_t - d k_t)",
        ("S' = alpha * S - beta_tilde * outer(S @ k, k) + beta * outer(v, k)",),
    ),
    "longhorn: a matrix of ones": (
        r"S_t = (\mathbf{1}_{d \times m} - \Delta_t \otimes k_t^{\odot 2}) \odot S_{t-1}"
        r"+ (\Delta_t \odot x_t) \otimes k_t \\ o_t = S_t q_t \\"
        r"\Delta_t = \frac{\beta_t}{1 + \beta_t k_t^\top k_t}",
        ("S'    = (1 - outer(Delta, k**2)) * S + outer(Delta * x, k)", "o     = S' @ q"),
    ),
    "titans: momentum and a memory": (
        r"M_t = (1-\alpha_t) M_{t-1} + S_t \\ S_t = \eta_t S_{t-1} - \theta_t (M_{t-1} k_t - v_t)"
        r"k_t^\top \\ y_t = M_t q_t",
        ("S' = eta * S - theta * outer(M @ k - v, k)", "state  M: P x H, S: P x H"),
    ),
    "mamba-2: formulas in a sentence": (
        r"""
\begin{align}
H_t &= \alpha_t H_{t-1} + \Delta_t B_t x_t^\top \\
y_t &= H_t^\top C_t + D x_t
\end{align}
where $\alpha_t = \exp(-\Delta_t \exp(a))$, $\Delta_t = \mathrm{softplus}(w_\Delta^\top x_t +
b_\Delta)$, $B_t = W_B x_t$, $C_t = W_C x_t$.
""",
        ("H'    = alpha * H + Delta * outer(B, x)", "y     = H'.T @ C + D @ x"),
    ),
    "a matrix that is told": (
        r"S_t = G_t \odot S_{t-1} \\ o_t = S_t q_t",
        ("S' = G * S", "o  = S' @ q"),
    ),
}


@pytest.mark.parametrize("name", MEMORIES)
def test_a_matrix_for_a_state_is_read(name: str) -> None:
    latex, lines = MEMORIES[name]
    told = {"S": "matrix", "G": "matrix"} if name.endswith("told") else {}
    reading = read(latex, told=told)
    assert reading.errors == ()
    assert reading.checked is not None
    assert set(lines) <= set(reading.text.splitlines())
    assert derive.Cell.parse(reading.text) == derive.Cell.of(reading.checked)


#: LaTeX of what must not become something else in silence, and the message.
REFUSED = {
    r"S_t = \eta_t S_{t-1} - \theta_t \nabla \ell(S_{t-1}; x_t)": "a gradient inside the cell",
    r"y_t = \Re[C x_t] + y_{t-1}": "complex numbers are not read",
    r"S_t = v_t k_t^\top + S_{t-1} M_{t-1} \\ M_t = M_{t-1} + k_t k_t^\top": "two matrices",
    r"S_t = f_t \odot S_{t-1} + v_t \\ o_t = S_t q_t": "'S' stands before a vector",
    r"a_t = \operatorname{split}(W x_t + h_{t-1}, 2)": "one of the parts of 'split' is read",
    r"h_t = \operatorname{split}(W x_t + h_{t-1}, 2)[2]": "there is no part 2 of 2",
    r"h_t = \mathrm{Linear}(x_t, h_{t-1})": "Linear takes 1 argument",
    r"h_t = (I - k_t k_t^\top) + x_t h_{t-1}": "this matrix multiplies nothing",
}


@pytest.mark.parametrize("latex", REFUSED)
def test_what_no_cell_does_is_refused(latex: str) -> None:
    errors = read(latex).errors
    assert errors
    assert errors[0].what.startswith(REFUSED[latex])
    assert errors[0].place is not None


#: LaTeX, and a line of the cell.
NOTATIONS = {
    r"wkv_t = W x_t \\ h_t = wkv_t + h_{t-1}": "h'  = wkv + h",
    r"a_t = e^{u + k_t} h_{t-1} \\ h_t = a_t + W_k k_t": "h' = a + W_k @ k",
    r"h_t = \sigma(\mathrm{Linear}_{d_h}(x_t)) \odot h_{t-1}": "h' = sigmoid(W_h @ x + b_h) * h",
    r"f'_t, i'_t \leftarrow \frac{x_t}{2}, 1 - x_t \\ h_t = f'_t h_{t-1} + i'_t": "i_p = 1 - x",
    r"h_t = \mathrm{LN}(x_t; \alpha, \beta) + h_{t-1}": "h' = alpha * layer_norm(x) + beta + h",
    r"h_t = \operatorname{layer\_norm}(W x_t, 10^{-6}) + h_{t-1}": (
        "h' = layer_norm(W @ x, eps=1e-6) + h"
    ),
    r"h_t = (x_t \bmod \tau) + h_{t-1}": "h' = x - tau * floor(x / tau) + h",
    r"h_t = W x_t + h_{t-1} \in \mathbb{R}^{d}": "state  h: d",
    r"a_0, h_0 = 0 \\ a_t = a_{t-1} + x_t \\ h_t = a_t + h_{t-1}": "output h'",
}


@pytest.mark.parametrize("latex", NOTATIONS)
def test_a_notation_of_recent_papers_means(latex: str) -> None:
    reading = read(latex)
    assert reading.errors == ()
    assert NOTATIONS[latex] in reading.text.splitlines()


def test_what_is_taken_for_one_number_beside_a_matrix_is_said() -> None:
    latex = r"H_t = H_{t-1} \odot A_t + k_t^{\dagger} v_t \\ y_t = q_t H_t"
    reading = read(latex)
    assert "input  A: 1, k: H, v: P, q: H" in reading.text.splitlines()
    assert reading.said[-1].startswith("beside a matrix, A is taken for one number a row")
    told = read(latex, told={"A": "matrix"})
    assert "input  A: H x P, k: H, v: P, q: H" in told.text.splitlines()


def test_a_sentence_about_diagonal_matrices_is_pointed_out() -> None:
    said = read(
        r"\[ h_t = \tanh(W x_t + W_{ch} h_{t-1}) \] The weight matrices from the cell to gate "
        r"vectors (e.g. $W_{ch}$) are diagonal."
    ).said
    assert "the text says 'diagonal':  --as W_ch=vector  for such a matrix" in said


# --- what derive writes, it reads ---------------------------------------------------------------


@pytest.mark.parametrize("name", derive.cells.names())
def test_what_is_written_in_the_notation_of_time_is_read_as_the_same_cell(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shown = ["show", name, "--stage", "cell", "--format", "latex", "--notation", "time"]
    assert main.status(shown) == 0
    cell = derive.cells.from_spec(name)
    back = derive.Cell.from_latex(capsys.readouterr().out, name=cell.name)
    assert set(back.states.items()) == set(cell.states.items())
    assert set(back.inputs.items()) == set(cell.inputs.items())
    point = structure_checks.Point(cell, 0)
    given = {n: abs(v) + 0.1 for n, v in point.given(0.7).items()}
    own = {n: given[n] for n in back.step.program.inputs}
    found = interpret(back.step.program, own, rows=structure_checks.ROWS, sizes=point.sizes)
    wanted = point.run(given)
    pairs = dict(zip(cell.step.states, cell.step.next_states, strict=True))
    for state, after in zip(back.step.states, back.step.next_states, strict=True):
        assert structure_checks.same(wanted[pairs[state]], found[after]), state
    for one, other in zip(cell.step.outputs, back.step.outputs, strict=True):
        assert structure_checks.same(wanted[one], found[other]), one
