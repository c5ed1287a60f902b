r"""Sets of equations as papers, textbooks and documentations print them, each with the cell of the
catalogue that it is.

`told` is what the equations alone do not say. The notation is the source's: its letters, its signs
for products, its order, its numbering; prose stands between the formulas where the source has it.
"""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Paper:
    latex: str
    cell: str  # an entry of the catalogue, or `.cell` text
    told: dict[str, str] = field(default_factory=dict)


PAPERS: dict[str, Paper] = {
    # --- long short-term memory ------------------------------------------------------------
    "lstm, a blog: joined vectors, stars": Paper(
        r"""
\begin{align}
f_t &= \sigma\left(W_f \cdot [h_{t-1}, x_t] + b_f\right) \\
i_t &= \sigma\left(W_i \cdot [h_{t-1}, x_t] + b_i\right) \\
\tilde{C}_t &= \tanh(W_C \cdot [h_{t-1}, x_t] + b_C) \\
C_t &= f_t * C_{t-1} + i_t * \tilde{C}_t \\
o_t &= \sigma\left(W_o [h_{t-1}, x_t] + b_o\right) \\
h_t &= o_t * \tanh (C_t)
\end{align}
""",
        "lstm",
    ),
    "lstm, a library's documentation: two biases, g": Paper(
        r"""
\begin{array}{ll} \\
    i_t = \sigma(W_{ii} x_t + b_{ii} + W_{hi} h_{t-1} + b_{hi}) \\
    f_t = \sigma(W_{if} x_t + b_{if} + W_{hf} h_{t-1} + b_{hf}) \\
    g_t = \tanh(W_{ig} x_t + b_{ig} + W_{hg} h_{t-1} + b_{hg}) \\
    o_t = \sigma(W_{io} x_t + b_{io} + W_{ho} h_{t-1} + b_{ho}) \\
    c_t = f_t \odot c_{t-1} + i_t \odot g_t \\
    h_t = o_t \odot \tanh(c_t) \\
\end{array}
""",
        "lstm",
    ),
    "lstm, an encyclopedia: sigma_g, sigma_c": Paper(
        r"""
\begin{aligned}
f_t &= \sigma_g(W_{f} x_t + U_{f} h_{t-1} + b_f) \\
i_t &= \sigma_g(W_{i} x_t + U_{i} h_{t-1} + b_i) \\
o_t &= \sigma_g(W_{o} x_t + U_{o} h_{t-1} + b_o) \\
\tilde{c}_t &= \sigma_c(W_{c} x_t + U_{c} h_{t-1} + b_c) \\
c_t &= f_t \odot c_{t-1} + i_t \odot \tilde{c}_t \\
h_t &= o_t \odot \sigma_h(c_t)
\end{aligned}
where the initial values are $c_0 = 0$ and $h_0 = 0$ and the operator $\odot$ denotes the Hadamard
product. The subscript $t$ indexes the time step.
""",
        "lstm",
    ),
    "lstm, a textbook: rows, capital letters for minibatches": Paper(
        r"""
Suppose that there are $h$ hidden units, the batch size is $n$, and the number of inputs is $d$.
Thus, the input is $\mathbf{X}_t \in \mathbb{R}^{n \times d}$ and the hidden state of the previous
time step is $\mathbf{H}_{t-1} \in \mathbb{R}^{n \times h}$.

$$
\begin{aligned}
\mathbf{I}_t &= \sigma(\mathbf{X}_t \mathbf{W}_{\textrm{xi}} + \mathbf{H}_{t-1} \mathbf{W}_{\textrm{hi}} + \mathbf{b}_\textrm{i}),\\
\mathbf{F}_t &= \sigma(\mathbf{X}_t \mathbf{W}_{\textrm{xf}} + \mathbf{H}_{t-1} \mathbf{W}_{\textrm{hf}} + \mathbf{b}_\textrm{f}),\\
\mathbf{O}_t &= \sigma(\mathbf{X}_t \mathbf{W}_{\textrm{xo}} + \mathbf{H}_{t-1} \mathbf{W}_{\textrm{ho}} + \mathbf{b}_\textrm{o}),
\end{aligned}
$$

$$\tilde{\mathbf{C}}_t = \textrm{tanh}(\mathbf{X}_t \mathbf{W}_{\textrm{xc}} + \mathbf{H}_{t-1} \mathbf{W}_{\textrm{hc}} + \mathbf{b}_\textrm{c}),$$

where $\mathbf{W}_{\textrm{xc}} \in \mathbb{R}^{d \times h}$ and
$\mathbf{W}_{\textrm{hc}} \in \mathbb{R}^{h \times h}$ are weight parameters.

$$\mathbf{C}_t = \mathbf{F}_t \odot \mathbf{C}_{t-1} + \mathbf{I}_t \odot \tilde{\mathbf{C}}_t.$$

$$\mathbf{H}_t = \mathbf{O}_t \odot \tanh(\mathbf{C}_t).$$
""",  # noqa: E501
        "lstm",
    ),
    "lstm, a column of gates": Paper(
        r"""
\begin{equation}
\left(\begin{array}{c}
    \mathbf{i}_t \\ \mathbf{f}_t \\ \mathbf{o}_t \\ \mathbf{g}_t
\end{array}\right)
= \left(\begin{array}{c} \sigma \\ \sigma \\ \sigma \\ \tanh \end{array}\right)
T_{D+m+n,n} \left(\begin{array}{c} \mathbf{x}_{t} \\ \mathbf{h}_{t-1} \end{array}\right)
\end{equation}
\begin{align}
\mathbf{c}_t &= \mathbf{f}_t \odot \mathbf{c}_{t-1} + \mathbf{i}_t \odot \mathbf{g}_t \\
\mathbf{h}_t &= \mathbf{o}_t \odot \tanh(\mathbf{c}_t).
\end{align}
""",
        "vary lstm: remove b_i, remove b_f, remove b_g, remove b_o",
    ),
    "lstm, an online course: angle brackets, capital gates": Paper(
        r"""
$$\tilde{c}^{\langle t \rangle} = \tanh(W_c[a^{\langle t-1 \rangle}, x^{\langle t \rangle}] + b_c)$$
$$\Gamma_u = \sigma(W_u[a^{\langle t-1 \rangle}, x^{\langle t \rangle}] + b_u)$$
$$\Gamma_f = \sigma(W_f[a^{\langle t-1 \rangle}, x^{\langle t \rangle}] + b_f)$$
$$\Gamma_o = \sigma(W_o[a^{\langle t-1 \rangle}, x^{\langle t \rangle}] + b_o)$$
$$c^{\langle t \rangle} = \Gamma_u * \tilde{c}^{\langle t \rangle}
    + \Gamma_f * c^{\langle t-1 \rangle}$$
$$a^{\langle t \rangle} = \Gamma_o * \tanh c^{\langle t \rangle}$$
""",
        "lstm",
    ),
    "lstm, a tutorial in plain letters": Paper(
        r"""
iₜ = σ(W_i xₜ + U_i hₜ₋₁ + b_i)
fₜ = σ(W_f xₜ + U_f hₜ₋₁ + b_f)
oₜ = σ(W_o xₜ + U_o hₜ₋₁ + b_o)
gₜ = tanh(W_g xₜ + U_g hₜ₋₁ + b_g)
cₜ = fₜ ⊙ cₜ₋₁ + iₜ ⊙ gₜ
hₜ = oₜ ⊙ tanh(cₜ)
""",
        "lstm",
    ),
    "lstm with peepholes, Graves: diagonal by a sentence": Paper(
        r"""
\begin{align}
i_t &= \sigma \left( W_{xi} x_t + W_{hi} h_{t-1} + W_{ci} c_{t-1} + b_i\right) \label{eq:i}\\
f_t &= \sigma \left( W_{xf} x_t + W_{hf} h_{t-1} + W_{cf} c_{t-1} + b_f\right) \\
c_t &= f_t c_{t-1} + i_t \tanh\left(W_{xc} x_t + W_{hc} h_{t-1} + b_c\right) \\
o_t &= \sigma \left( W_{xo} x_t + W_{ho} h_{t-1} + W_{co} c_t + b_o\right) \\
h_t &= o_t \tanh(c_t)
\end{align}
where $\sigma$ is the logistic sigmoid function. The weight matrices from the cell to gate vectors
are diagonal.
""",
        "lstm:peephole=true",
        {"W_ci": "vector", "W_cf": "vector", "W_co": "vector"},
    ),
    "lstm with peepholes, circles": Paper(
        r"""
\begin{equation}
\begin{split}
i_t &= \sigma(W_{xi} x_t + W_{hi} h_{t-1} + W_{ci} \circ c_{t-1} + b_i)\\
f_t &= \sigma(W_{xf} x_t + W_{hf} h_{t-1} + W_{cf} \circ c_{t-1} + b_f)\\
c_t &= f_t \circ c_{t-1} + i_t \circ \tanh(W_{xc}x_t + W_{hc}h_{t-1} + b_c)\\
o_t &= \sigma(W_{xo} x_t + W_{ho}h_{t-1} + W_{co} \circ c_t + b_o)\\
h_t &= o_t \circ \tanh(c_t)
\end{split}
\end{equation}
""",
        "lstm:peephole=true",
    ),
    "lstm, a search space odyssey: time above, g and h": Paper(
        r"""
\begin{align*}
\bar{\mathbf{z}}^t &= \mathbf{W}_z \mathbf{x}^t + \mathbf{R}_z \mathbf{y}^{t-1} + \mathbf{b}_z \\
\mathbf{z}^t &= g(\bar{\mathbf{z}}^t) & \textit{block input}\\
\bar{\mathbf{i}}^t &= \mathbf{W}_i \mathbf{x}^t + \mathbf{R}_i \mathbf{y}^{t-1} + \mathbf{p}_i \odot \mathbf{c}^{t-1} + \mathbf{b}_i\\
\mathbf{i}^t &= \sigma(\bar{\mathbf{i}}^t) & \textit{input gate}\\
\bar{\mathbf{f}}^t &= \mathbf{W}_f \mathbf{x}^t + \mathbf{R}_f \mathbf{y}^{t-1} + \mathbf{p}_f \odot \mathbf{c}^{t-1} + \mathbf{b}_f\\
\mathbf{f}^t &= \sigma(\bar{\mathbf{f}}^t) & \textit{forget gate}\\
\mathbf{c}^t &= \mathbf{z}^t \odot \mathbf{i}^t + \mathbf{c}^{t-1} \odot \mathbf{f}^t & \textit{cell}\\
\bar{\mathbf{o}}^t &= \mathbf{W}_o \mathbf{x}^t + \mathbf{R}_o \mathbf{y}^{t-1} + \mathbf{p}_o \odot \mathbf{c}^{t} + \mathbf{b}_o\\
\mathbf{o}^t &= \sigma(\bar{\mathbf{o}}^t) & \textit{output gate}\\
\mathbf{y}^t &= h(\mathbf{c}^t) \odot \mathbf{o}^t & \textit{block output}
\end{align*}
""",  # noqa: E501
        "odyssey",
    ),
    "lstm with a recurrent projection": Paper(
        r"""
\begin{align}
i_t &= \sigma(W_{ix} x_t + W_{im} r_{t-1} + b_i) \\
f_t &= \sigma(W_{fx} x_t + W_{fm} r_{t-1} + b_f) \\
c_t &= f_t \odot c_{t-1} + i_t \odot g(W_{cx} x_t + W_{cm} r_{t-1} + b_c) \\
o_t &= \sigma(W_{ox} x_t + W_{om} r_{t-1} + b_o) \\
m_t &= o_t \odot h(c_t) \\
r_t &= W_{rm} m_t
\end{align}
""",
        "lstm:projection=true",
    ),
    "coupled gates": Paper(
        r"""
f_t = \sigma(W_f x_t + U_f h_{t-1} + b_f) \tag{1}
\tilde{c}_t = \tanh(W_c x_t + U_c h_{t-1} + b_c) \tag{2}
c_t = f_t \odot c_{t-1} + (1 - f_t) \odot \tilde{c}_t \tag{3}
o_t = \sigma(W_o x_t + U_o h_{t-1} + b_o) \tag{4}
h_t = o_t \odot \tanh(c_t) \tag{5}
""",
        "cifg",
    ),
    # --- gated recurrent units -------------------------------------------------------------
    "gru, 2014: the j-th unit, reset before the product": Paper(
        r"""
First, the \textit{reset} gate $r_j$ is computed by
\begin{align}
r_j = \sigma\left( \left[\mathbf{W}_r \mathbf{x}\right]_j + \left[\mathbf{U}_r \mathbf{h}_{\langle t-1 \rangle}\right]_j \right),
\end{align}
where $\sigma$ is the logistic sigmoid function, and $[.]_j$ denotes the $j$-th element of a vector.
Similarly, the \textit{update} gate $z_j$ is computed by
\begin{align}
z_j = \sigma\left( \left[\mathbf{W}_z \mathbf{x}\right]_j + \left[\mathbf{U}_z \mathbf{h}_{\langle t-1 \rangle}\right]_j \right).
\end{align}
The actual activation of the proposed unit $h_j$ is then computed by
\begin{align}
h_j^{\langle t \rangle} = z_j h_j^{\langle t-1 \rangle} + (1 - z_j) \tilde{h}_j^{\langle t \rangle},
\end{align}
where
\begin{align}
\tilde{h}_j^{\langle t \rangle} = \phi\left( \left[\mathbf{W} \mathbf{x}\right]_j + \left[ \mathbf{U} \left( \mathbf{r} \odot \mathbf{h}_{\langle t-1 \rangle} \right) \right]_j \right).
\end{align}
""",  # noqa: E501
        "vary gru:reset=before: remove b_r, remove b_z, remove b_n",
    ),
    "gru, 2014: an empirical evaluation": Paper(
        r"""
\begin{align}
h_t^j &= (1 - z_t^j) h_{t-1}^j + z_t^j \tilde{h}_t^j, \\
z_t^j &= \sigma \left( W_z \mathbf{x}_t + U_z \mathbf{h}_{t-1} \right)^j. \\
\tilde{h}_t^j &= \tanh \left( W \mathbf{x}_t + U \left( \mathbf{r}_t \odot \mathbf{h}_{t-1} \right) \right)^j, \\
r_t^j &= \sigma \left( W_r \mathbf{x}_t + U_r \mathbf{h}_{t-1} \right)^j.
\end{align}
""",  # noqa: E501
        "vary gru:reset=before,keeps=candidate: remove b_r, remove b_z, remove b_n",
    ),
    "gru, a blog": Paper(
        r"""
z_t = \sigma (W_z \cdot [h_{t-1}, x_t])
r_t = \sigma (W_r \cdot [h_{t-1}, x_t])
\tilde{h}_t = \tanh (W \cdot [r_t * h_{t-1}, x_t])
h_t = (1 - z_t) * h_{t-1} + z_t * \tilde{h}_t
""",
        "vary gru:reset=before,keeps=candidate: remove b_r, remove b_z, remove b_n",
    ),
    "gru, a library's documentation": Paper(
        r"""
\begin{array}{ll}
    r_t = \sigma(W_{ir} x_t + b_{ir} + W_{hr} h_{(t-1)} + b_{hr}) \\
    z_t = \sigma(W_{iz} x_t + b_{iz} + W_{hz} h_{(t-1)} + b_{hz}) \\
    n_t = \tanh(W_{in} x_t + b_{in} + r_t \odot (W_{hn} h_{(t-1)}+ b_{hn})) \\
    h_t = (1 - z_t) \odot n_t + z_t \odot h_{(t-1)}
\end{array}
""",
        "gru",
    ),
    "gru, the first version: reset after the product": Paper(
        r"""
\[ z_t = \sigma(W_z x_t + U_z h_{t-1} + b_z), \qquad r_t = \sigma(W_r x_t + U_r h_{t-1} + b_r) \]
\[ \tilde{h}_t = \tanh\bigl(W_h x_t + r_t \circ (U_h h_{t-1}) + b_h\bigr) \]
\[ h_t = z_t \circ h_{t-1} + (\mathbf{1} - z_t) \circ \tilde{h}_t \]
""",
        "vary gru: remove b_hr, remove b_hz, remove b_hn",
    ),
    "gru, an encyclopedia": Paper(
        r"""
\begin{align}
z_t &= \sigma(W_{z} x_t + U_{z} h_{t-1} + b_z) \\
r_t &= \sigma(W_{r} x_t + U_{r} h_{t-1} + b_r) \\
\hat{h}_t &= \phi(W_{h} x_t + U_{h} (r_t \odot h_{t-1}) + b_h) \\
h_t &=  (1 - z_t) \odot h_{t-1} + z_t \odot \hat{h}_t
\end{align}
Variables: $x_t \in \mathbb{R}^d$: input vector, $h_t \in \mathbb{R}^e$: output vector,
$W \in \mathbb{R}^{e \times d}$, $U \in \mathbb{R}^{e \times e}$ and $b \in \mathbb{R}^{e}$.
""",
        "gru:reset=before,keeps=candidate",
    ),
    "gru, rows and superscripts": Paper(
        r"""
update gate $z$: how much of the previous memory to keep around.
\[z = \sigma (x_t U^z + s_{t-1} W^z )\]
\[r = \sigma(x_t U^r + s_{t-1} W^r )\]
\[h = \tanh (x_t U^h + (s_{t-1} \odot r) W^h)\]
\[s_t = (1-z)\odot h + z \odot s_{t-1}\]
""",
        "vary gru:reset=before: remove b_r, remove b_z, remove b_n",
    ),
    # --- fewer gates -----------------------------------------------------------------------
    "janet": Paper(
        r"""
\begin{align}
\mathbf{s}_t &= \mathbf{U}_f \mathbf{h}_{t-1} + \mathbf{W}_f \mathbf{x}_t + \mathbf{b}_f \nonumber \\
\tilde{\mathbf{c}}_t &= \tanh(\mathbf{U}_c \mathbf{h}_{t-1} + \mathbf{W}_c \mathbf{x}_t + \mathbf{b}_c) \nonumber \\
\mathbf{c}_t &= \sigma(\mathbf{s}_t) \odot \mathbf{c}_{t-1} + (1 - \sigma(\mathbf{s}_t - \beta)) \odot \tilde{\mathbf{c}}_t \\
\mathbf{h}_t &= \mathbf{c}_t. \nonumber
\end{align}
We use $\beta = 1$.
""",  # noqa: E501
        "janet",
    ),
    "minimal gated unit": Paper(
        r"""
\begin{align}
\boldsymbol{f}_t &= \sigma\left( W_f \left[ \boldsymbol{h}_{t-1}, \boldsymbol{x}_t \right] + \boldsymbol{b}_f \right), \\
\tilde{\boldsymbol{h}}_t &= \tanh\left( W_h \left[ \boldsymbol{f}_t \odot \boldsymbol{h}_{t-1}, \boldsymbol{x}_t \right] + \boldsymbol{b}_h \right), \\
\boldsymbol{h}_t &= (1 - \boldsymbol{f}_t) \odot \boldsymbol{h}_{t-1} + \boldsymbol{f}_t \odot \tilde{\boldsymbol{h}}_t.
\end{align}
""",  # noqa: E501
        "mgu",
    ),
    "update gate rnn": Paper(
        r"""
\begin{align}
\mathbf{c}_t &= s(\mathbf{W}^{ch} \mathbf{h}_{t-1} + \mathbf{W}^{cx} \mathbf{x}_t + \mathbf{b}^c) \\
\mathbf{g}_t &= \sigma(\mathbf{W}^{gh} \mathbf{h}_{t-1} + \mathbf{W}^{gx} \mathbf{x}_t + \mathbf{b}^g) \\
\mathbf{h}_t &= \mathbf{g}_t \cdot \mathbf{h}_{t-1} + (1 - \mathbf{g}_t) \cdot \mathbf{c}_t
\end{align}
""",  # noqa: E501
        "ugrnn:forget_bias=0",
        {"s": "tanh"},
    ),
    "intersection rnn": Paper(
        r"""
\begin{align*}
\mathbf{y}^{in}_t &= s_1(\mathbf{W}^{yh} \mathbf{h}_{t-1} + \mathbf{W}^{yx}\mathbf{x}_t + \mathbf{b}^y) \\
\mathbf{h}^{in}_t &= s_2(\mathbf{W}^{hh} \mathbf{h}_{t-1} + \mathbf{W}^{hx}\mathbf{x}_t + \mathbf{b}^h) \\
\mathbf{g}^y_t &= \sigma(\mathbf{W}^{g^y h} \mathbf{h}_{t-1} + \mathbf{W}^{g^y x}\mathbf{x}_t + \mathbf{b}^{g^y}) \\
\mathbf{g}^h_t &= \sigma(\mathbf{W}^{g^h h} \mathbf{h}_{t-1} + \mathbf{W}^{g^h x}\mathbf{x}_t + \mathbf{b}^{g^h}) \\
\mathbf{y}_t &= \mathbf{g}^y_t \cdot \mathbf{x}_t + (1 - \mathbf{g}^y_t) \cdot \mathbf{y}^{in}_t \\
\mathbf{h}_t &= \mathbf{g}^h_t \cdot \mathbf{h}_{t-1} + (1 - \mathbf{g}^h_t) \cdot \mathbf{h}^{in}_t
\end{align*}
The input and the state have one dimension: $\mathbf{x}_t, \mathbf{h}_t \in \mathbb{R}^{n}$.
""",  # noqa: E501
        "intersection_rnn:forget_bias=0",
        {"s_1": "relu", "s_2": "tanh"},
    ),
    "light gru": Paper(
        r"""
\begin{subequations}
\begin{align}
z_{t} &= \sigma(W_{z}x_{t} + U_{z}h_{t-1} + b_z), \\
\widetilde{h_{t}} &= \text{ReLU}(W_{h} x_{t} + U_{h}h_{t-1} + b_h), \\
h_{t} &= z_{t} \odot h_{t-1} + (1 - z_{t}) \odot \widetilde{h_{t}}.
\end{align}
\end{subequations}
""",
        "ligru",
    ),
    "minimal rnn": Paper(
        r"""
\[ \mathbf{z}_t = \Phi(\mathbf{x}_t), \quad \text{where}\ \Phi(\mathbf{x}) = \tanh(\mathbf{W}_z \mathbf{x} + \mathbf{b}_z) \]
\[ \mathbf{h}_t = \mathbf{u}_t \odot \mathbf{h}_{t-1} + (\mathbf{1} - \mathbf{u}_t) \odot \mathbf{z}_t \]
\[ \mathbf{u}_t = \sigma(\mathbf{U}_h \mathbf{h}_{t-1} + \mathbf{U}_z \mathbf{z}_t + \mathbf{b}_u) \]
""",  # noqa: E501
        "minimal_rnn",
    ),
    "chaos-free network": Paper(
        r"""
\begin{align}
h_t &= \theta_t \odot \tanh(h_{t-1}) + \eta_t \odot \tanh(W x_t) \\
\theta_t &:= \sigma(U_\theta h_{t-1} + V_\theta x_t + b_\theta) \quad \text{and} \quad
\eta_t := \sigma(U_\eta h_{t-1} + V_\eta x_t + b_\eta)
\end{align}
""",
        "cfn",
    ),
    # --- no product with a state -----------------------------------------------------------
    "indrnn": Paper(
        r"""
$$\mathbf{h}_t = \sigma(\mathbf{W x}_t + \mathbf{u} \odot \mathbf{h}_{t-1} + \mathbf{b})$$
where $\sigma$ is ReLU.
""",
        "indrnn",
        {"sigma": "relu"},
    ),
    "mingru": Paper(
        r"""
\begin{align*}
\boldsymbol{h}_t &= (\boldsymbol{1} - \boldsymbol{z}_t) \odot \boldsymbol{h}_{t-1} + \boldsymbol{z}_t \odot \tilde{\boldsymbol{h}}_t \\
\boldsymbol{z}_t &= \sigma(W_z \boldsymbol{x}_t + b_z) \\
\tilde{\boldsymbol{h}}_t &= W_h \boldsymbol{x}_t + b_h
\end{align*}
""",  # noqa: E501
        "min_gru",
    ),
    "minlstm": Paper(
        r"""
\begin{align*}
\boldsymbol{f}_t &= \sigma(W_f \boldsymbol{x}_t + b_f) \\
\boldsymbol{i}_t &= \sigma(W_i \boldsymbol{x}_t + b_i) \\
\tilde{\boldsymbol{h}}_t &= W_h \boldsymbol{x}_t + b_h \\
\boldsymbol{f}'_t &= \frac{\boldsymbol{f}_t}{\boldsymbol{f}_t + \boldsymbol{i}_t}, \qquad
\boldsymbol{i}'_t = \frac{\boldsymbol{i}_t}{\boldsymbol{f}_t + \boldsymbol{i}_t} \\
\boldsymbol{h}_t &= \boldsymbol{f}'_t \odot \boldsymbol{h}_{t-1} + \boldsymbol{i}'_t \odot \tilde{\boldsymbol{h}}_t
\end{align*}
""",  # noqa: E501
        "min_lstm",
    ),
    "sru, first version": Paper(
        r"""
\begin{eqnarray}
\tilde{\mathbf{x}}_t & = & \mathbf{W} \mathbf{x}_t \\
\mathbf{f}_t & = & \sigma(\mathbf{W}_f \mathbf{x}_t + \mathbf{b}_f) \\
\mathbf{r}_t & = & \sigma(\mathbf{W}_r \mathbf{x}_t + \mathbf{b}_r) \\
\mathbf{c}_t & = & \mathbf{f}_t \odot \mathbf{c}_{t-1} + (1-\mathbf{f}_t) \odot \tilde{\mathbf{x}}_t \\
\mathbf{h}_t & = & \mathbf{r}_t \odot g(\mathbf{c}_t) + (1-\mathbf{r}_t) \odot \mathbf{W}_x \mathbf{x}_t
\end{eqnarray}
""",  # noqa: E501
        "sru",
    ),
    # --- the oldest, and others ------------------------------------------------------------
    "elman, a textbook": Paper(
        r"""
\begin{align}
\boldsymbol{a}^{(t)} &= \boldsymbol{b} + \boldsymbol{W} \boldsymbol{h}^{(t-1)} + \boldsymbol{U} \boldsymbol{x}^{(t)}, \\
\boldsymbol{h}^{(t)} &= \tanh(\boldsymbol{a}^{(t)}),
\end{align}
""",  # noqa: E501
        "rnn",
    ),
    "elman, arguments in brackets": Paper(
        r"h(t) = \tanh(W x(t) + U h(t-1) + b) \qquad (4)",
        "rnn",
    ),
    "slim lstm": Paper(
        r"""
\begin{align}
i_t &= \sigma(U_i h_{t-1} + b_i)\\
f_t &= \sigma(U_f h_{t-1} + b_f)\\
o_t &= \sigma(U_o h_{t-1} + b_o)\\
\tilde c_t &= \tanh(W_c x_t + U_c h_{t-1} + b_c)\\
c_t &= f_t \odot c_{t-1} + i_t \odot \tilde c_t\\
h_t &= o_t \odot \tanh(c_t)
\end{align}
""",
        "slim",
    ),
    # --- cells that are given here by hand -------------------------------------------------
    "rg-lru": Paper(
        r"""
\begin{align}
r_t &= \sigma(W_{a}x_t + b_a), & \text{recurrence gate}\\
i_t &= \sigma(W_{x}x_t + b_x), & \text{input gate}\\
a_t &= a^{c r_t}, \\
h_t &= a_t \odot h_{t-1} + \sqrt{1 - a_t^2} \odot (i_t \odot x_t).
\end{align}
We parameterize $a = \sigma(\Lambda)$, where $\Lambda$ is a learnable parameter and $c = 8$.
""",
        "rg_lru",
    ),
    "antisymmetric rnn": Paper(
        r"""
\begin{equation}
h_t = h_{t-1} + \epsilon \tanh\left( (W_h - W_h^T - \gamma I) h_{t-1} + V_h x_t + b_h \right),
\end{equation}
""",
        "antisymmetric_rnn",
        {"epsilon": "0.01", "gamma": "0.01"},
    ),
    "long expressive memory: sigma is tanh": Paper(
        r"""
\begin{equation}
\begin{aligned}
\mathbf{\Delta t}_n &= \Delta t \hat{\sigma} ({\bf W}_1 {\bf y}_{n-1} + {\bf V}_1 {\bf u}_n + {\bf b}_1), \\
\overline{\mathbf{\Delta t}}_n &= \Delta t \hat{\sigma} ({\bf W}_2 {\bf y}_{n-1} + {\bf V}_2 {\bf u}_n + {\bf b}_2), \\
{\bf z}_n &= (1 - \mathbf{\Delta t}_n) \odot {\bf z}_{n-1} + \mathbf{\Delta t}_n \odot \sigma({\bf W}_z {\bf y}_{n-1} + {\bf V}_z {\bf u}_n + {\bf b}_z), \\
{\bf y}_n &= (1 - \overline{\mathbf{\Delta t}}_n) \odot {\bf y}_{n-1} + \overline{\mathbf{\Delta t}}_n \odot \sigma({\bf W}_y {\bf z}_n + {\bf V}_y {\bf u}_n + {\bf b}_y).
\end{aligned}
\end{equation}
We write ${\bf y}_n, {\bf z}_n \in \mathbb{R}^m$. Here $\sigma(u) = \tanh(u)$ and $\hat{\sigma}(u) = 0.5 (1 + \tanh(u/2))$.
""",  # noqa: E501
        "lem",
        {"dt_0": "1"},
    ),
    "undamped oscillators": Paper(
        r"""
\begin{equation}
\begin{aligned}
{\bf y}_n &= {\bf y}_{n-1} + \Delta t \hat{\sigma}({\bf c}) \odot {\bf z}_n, \\
{\bf z}_n &= {\bf z}_{n-1} - \Delta t \hat{\sigma}({\bf c}) \odot [\sigma({\bf w} \odot {\bf y}_{n-1} + {\bf V} {\bf u}_n + {\bf b}) + \alpha {\bf y}_{n-1}].
\end{aligned}
\end{equation}
""",  # noqa: E501
        "unicornn",
        {"sigma": "tanh", "sigma_hat": "sigmoid", "alpha": "1", "dt": "0.1"},
    ),
    "slstm without its stabiliser": Paper(
        r"""
\begin{align}
c_t &= f_t c_{t-1} + i_t z_t & \text{cell state} \\
n_t &= f_t n_{t-1} + i_t & \text{normalizer state} \\
h_t &= o_t \tilde{h}_t, & \tilde{h}_t &= c_t / n_t & \text{hidden state} \\
z_t &= \varphi(\tilde{z}_t), & \tilde{z}_t &= W_z x_t + R_z h_{t-1} + b_z & \text{cell input} \\
i_t &= \exp(\tilde{i}_t), & \tilde{i}_t &= W_i x_t + R_i h_{t-1} + b_i & \text{input gate} \\
f_t &= \sigma(\tilde{f}_t), & \tilde{f}_t &= W_f x_t + R_f h_{t-1} + b_f & \text{forget gate} \\
o_t &= \sigma(\tilde{o}_t), & \tilde{o}_t &= W_o x_t + R_o h_{t-1} + b_o & \text{output gate}
\end{align}
""",
        """cell slstm
input x: I
state c: H, n: H, h: H
i = exp(W_i @ x + R_i @ h + b_i)
f = sigmoid(W_f @ x + R_f @ h + b_f)
c' = f * c + i * tanh(W_z @ x + R_z @ h + b_z)
n' = f * n + i
h' = sigmoid(W_o @ x + R_o @ h + b_o) * c' / n'
output h'
""",
    ),
    "multiplicative lstm": Paper(
        r"""
\begin{gather}
m_t = (W_{mx} x_t) \odot (W_{mh} h_{t-1}) \\
\hat{h}_t = W_{hx} x_t + W_{hm} m_t \\
i_t = \sigma(W_{ix} x_t + W_{im} m_t) \\
o_t = \sigma(W_{ox} x_t + W_{om} m_t) \\
f_t = \sigma(W_{fx} x_t + W_{fm} m_t) \\
c_t = f_t \odot c_{t-1} + i_t \odot \tanh(\hat{h}_t) \\
h_t = \tanh(c_t) \odot o_t
\end{gather}
""",
        """cell multiplicative
input x: I
state h: H, c: H
param W_mx: M x I, W_mh: M x H
m = W_mx @ x * (W_mh @ h)
i = sigmoid(W_ix @ x + W_im @ m)
f = sigmoid(W_fx @ x + W_fm @ m)
o = sigmoid(W_ox @ x + W_om @ m)
c' = f * c + i * tanh(W_hx @ x + W_hm @ m)
h' = o * tanh(c')
output h'
""",
    ),
    "bistable recurrent cell: one brace": Paper(
        r"""
$$
\begin{cases}
h_t = c_t \odot h_{t-1} + (1 - c_t) \odot \tanh(U x_t + a_t \odot h_{t-1}) \\
a_t = 1 + \tanh(U_a x_t + w_a \odot h_{t-1}) \\
c_t = \sigma(U_c x_t + w_c \odot h_{t-1})
\end{cases}
$$
""",
        "vary brc: remove b_a, remove b_c",
    ),
    "t-gru: an input one step late": Paper(
        r"""
z_t = V_z x_{t-1} + W_z x_t,
f_t = \sigma(V_f x_{t-1} + W_f x_t),
o_t = \tanh(V_o x_{t-1} + W_o x_t),
h_t = f_t \odot h_{t-1} + z_t \odot o_t
""",
        """cell t_gru
input x: I
state h: H, last: I
f = sigmoid(V_f @ last + W_f @ x)
h' = f * h + (V_z @ last + W_z @ x) * tanh(V_o @ last + W_o @ x)
last' = x
output h'
""",
    ),
    "a step ahead": Paper(
        r"h_{t+1} = f_t \odot h_t + (1 - f_t) \odot c_t, \quad "
        r"f_t = \sigma(W_f x_t), c_t = W_c x_t",
        """cell ahead
input x: I
state h: H
f = sigmoid(W_f @ x)
h' = f * h + (1 - f) * (W_c @ x)
output h'
""",
    ),
    "a name for joined vectors": Paper(
        r"""
\begin{align*}
x' &= [x_t^T, h_{t-1}^T]^T \\
z &= \sigma_1(W^z x') \\
r &= \sigma_2(W^r x') \\
h' &= \tanh(W' [x_t^T, (r \bullet h_{t-1})^T]^T)\\
h_t &= z \bullet h_{t-1} + (1 - z) \bullet h'
\end{align*}
""",
        "vary gru:reset=before: remove b_r, remove b_z, remove b_n",
    ),
    "recurrent additive network": Paper(
        r"""
\begin{equation}
\begin{aligned}
\widetilde{\mathbf{c}}_t &= \mathbf{W}_{cx}\mathbf{x}_t \\
\mathbf{i}_t &= \sigma([\mathbf{h}_{t-1}, \mathbf{x}_t]\,\mathbf{W}_{i} + \mathbf{b}_i) \\
\mathbf{f}_t &= \sigma([\mathbf{h}_{t-1}, \mathbf{x}_t]\,\mathbf{W}_{f} + \mathbf{b}_f) \\
\mathbf{c}_t &= \mathbf{i}_t \circ \widetilde{\mathbf{c}}_t + \mathbf{f}_t \circ \mathbf{c}_{t-1} \\
\mathbf{h}_t &= g(\mathbf{c}_t)
\end{aligned}
\end{equation}
""",
        "vary ran: remove b_c",
    ),
    "stackable recurrent cell": Paper(
        r"""
\begin{align}
\boldsymbol{k}_t &= \sigma(\boldsymbol{W}_x \boldsymbol{x}_t + \boldsymbol{W}_h \boldsymbol{h}_{t-1} + \boldsymbol{b}_k) \\
\boldsymbol{z}_t &= \tanh(\boldsymbol{W}_z \boldsymbol{x}_t + \boldsymbol{b}_z) \\
\boldsymbol{h}_t &= \tanh\Big((1 - \boldsymbol{k}_t) \circ \boldsymbol{h}_{t-1} + \boldsymbol{k}_t \circ \boldsymbol{z}_t\Big).
\end{align}
""",  # noqa: E501
        "star",
    ),
    "twin gates": Paper(
        r"""
$p_t = W x_t + b$, $q_t = U h_{t-1}$;
$$ i_t = \sigma(p_t + q_t); \quad f_t = \sigma(p_t - q_t); $$
$$ h_t = i_t \cdot p_t + f_t \cdot h_{t-1} $$
""",
        "atr",
    ),
    "multiplicative integration": Paper(
        r"$$h_t = \phi(\alpha \odot W x_t \odot U h_{t-1} + \beta_1 \odot U h_{t-1} "
        r"+ \beta_2 \odot W x_t + b)$$",
        "mi_rnn",
    ),
    "mut1, products with x": Paper(
        r"""
\begin{array}{rcl}
z &=& \text{sigm}(W_{xz} x_t + b_z) \\
r &=& \text{sigm}(W_{xr} x_t + W_{hr} h_t + b_r) \\
h_{t+1} &=& \tanh(W_{hh}(r \odot h_t) + \tanh(W_{xh} x_t) + b_h) \odot z \\
 &+& h_t \odot (1 - z)
\end{array}
""",
        "mut",
    ),
    "a gate by cases": Paper(
        r"""
\begin{equation}
h_t = \begin{cases}
\frac{2 \phi_t}{r}, & \text{if } \phi_t < \frac{1}{2} r \\
2 - \frac{2 \phi_t}{r}, & \text{if } \frac{1}{2} r \le \phi_t < r \\
\alpha \phi_t, & \text{otherwise}
\end{cases}, \qquad \phi_t = |W x_t| + h_{t-1}, \quad \alpha = 10^{-3}
\end{equation}
""",
        """cell gate
input x: I
state h: H
param r: H
p = abs(W @ x) + h
h' = where(p < 0.5 * r, 2 * p / r, where(0.5 * r <= p, where(p < r, 2 - 2 * p / r, 0.001 * p), 0.001 * p))
output h'
""",  # noqa: E501
    ),
}
