"""Cells that are legal and odd: for tests of every target."""

CELLS: dict[str, str] = {
    "gru": """cell gru
input x: I
state h: H
r = sigmoid(W_r @ x + U_r @ h + b_r)
z = sigmoid(W_z @ x + U_z @ h + b_z)
n = tanh(W_n @ x + U_n @ (r * h) + b_n)
h' = (1 - z) * n + z * h
output h'
""",
    "swap": """cell swap
input x: I
state h: H, c: H
h' = tanh(W @ x + U @ h + b) + c
c' = h
output h', x, b, h, c'
""",
    "pure_swap": """cell pure_swap
state h: H, c: H
h' = c
c' = h
output h', c
""",
    "collide": """cell collide
input np: I, T: I
state t: H, h_all: H
param real: H
alive = tanh(B @ np + range @ h_all + dict)
h_all' = alive * t + real
t' = sigmoid(params @ T + inputs @ t + states) * h_all + gated
param U: H x H
saved = U @ h_all'
output alive, saved
""",
    "collide2": """cell collide2
input x: I
state h: H
flat = W @ x
or_zeros = U @ h + Array
lengths = relu(flat + or_zeros) + l
d_h = sigmoid(lengths) * Arrays
x_all = d_h * l
O = U.T @ x_all
h' = O + erf(alive_all * x_all)
output h', d_h, flat
""",
    "noinput": """cell noinput
state h: H
h' = tanh(U @ h + b)
output h'
""",
    "nostate": """cell nostate
input x: I
param W: P x I, V: P x I
y = sigmoid(W @ x + b) * gelu(V @ x)
z = y * 2
output y, z, x
""",
    "pointwise": """cell pointwise
input x: H
y = x * x
output y
""",
    "noparams": """cell noparams
input x: H
state h: H
h' = 0.5 * h + tanh(x)
output h'
""",
    "only_state": """cell only_state
state h: H
h' = 0.5 * h
y = h * h
output y
""",
    "dead": """cell dead
input x: I, unused: 4
state h: H
param nothing: H x I
param W: H x I
q = W @ x
junk = tanh(q) * 3
h' = tanh(U @ h)
output h'
""",
    "feedforward": """cell feedforward
input x: I
state h: H
h' = tanh(W @ x + b)
param V: P x H
y = V @ h
output y, h
""",
    "width1": """cell width1
input x: 1
state h: H, s: 1
param a: 1
param w: 1 x H
s' = 0.9 * s + w @ h + a
h' = tanh(U @ h + b * x) * sigmoid(s')
output h', s', s
""",
    "narrow_next": """cell narrow_next
input x: 1
state h: H, g: H
h' = x * 0.5
g' = 0.25
y = h + g * b
output y, h', g'
""",
    "shared_next": """cell shared_next
input x: I
state h: H
param W: H x P, U: P x H, V: P x I
h' = W @ b
y = tanh(U @ h + V @ x)
output y
""",
    "shared_product": """cell shared_product
input x: I
state h: H
param b: P
wb = W @ b
h' = tanh(U @ h + V @ x + wb) * mean(wb)
output h'
""",
    "transposed": """cell transposed
input x: I
state h: H
z = U @ (U.T @ h) + U @ h + W @ x
h' = tanh(z) - 0.1 * (U.T @ (W @ (W.T @ z)))
output h'
""",
    "norms": """cell norms
input x: I
state h: H
a = layer_norm(W @ x) + layer_norm(U @ h) * g + b
h' = tanh(a) * (1 - mean(h) * sum(x)) / 3
output h'
""",
    "branches": """cell branches
input x: I
state h: H
a = W @ x + U @ h
h' = where(a < 0, sqrt(abs(a)) - 1, log(a + 1.5)) + where(h == 0, 1, where(b < a, 2, 0.5))
output h'
""",
    "wnan": """cell wnan
input x: H
state h: H
h' = where(x > 0, sqrt(x), 0.1 * h) + where(x <= 0, 1, log(x) * b)
output h'
""",
    "acts": """cell acts
input x: I
state h: H
a = W @ x + U @ h
h' = 0.1 * tanh(
    softplus(a) * softsign(b * a) + elu(a) - selu(h) * hard_sigmoid(a) + silu(a) * gelu(h)
    + logsigmoid(a) * hard_tanh(2 * a) + leaky_relu(a) / (2 + cos(a)) + clip(a, -0.3, 0.7) * sin(h)
    + maximum(a, h) * minimum(a, b) + floor(a) + sign(h) + expm1(0.1 * a) - log1p(abs(a))
    + stop_gradient(a) * a + relu(h) + abs(a))
output h'
""",
    "powers": """cell powers
input x: I
state h: H
a = W @ x + U @ h
p = 1 / (1 + a ** 2) - a ** 3 / (7 + a**4) + (a ** 2 + 0.5) ** -0.5
h' = p - 2 * (a - b) ** 4 * h / (1 + exp(a**2)) / 5 + (1 + tanh(a)**2) ** 1.7
output h'
""",
    "intwidth": """cell intwidth
input x: 3, y: 2
state h: 5
h' = tanh(W @ x + V @ y + U @ h + b)
param Q: 7 x 5
z = Q @ h'
output z
""",
    "reductions": """cell reductions
input x: I
state h: H
s = sum(h * b)
h' = tanh(W @ x) * s + mean(h) - sum(x * x)
output h', s
""",
    "proj": """cell proj
input x: I
state h: P, c: H
i = sigmoid(W_i @ x + U_i @ h + p_i * c + b_i)
f = sigmoid(W_f @ x + U_f @ h + p_f * c + b_f)
g = tanh(W_g @ x + U_g @ h + b_g)
c' = f * c + i * g
o = sigmoid(W_o @ x + U_o @ h + p_o * c' + b_o)
h' = R @ (o * tanh(c'))
output h', c'
""",
    "late": """cell late
input x: I
state h: H
h' = tanh(W @ x + U @ h)
param V: P x H, Q: P x H
y = V @ h' + Q @ h + d
z = exp(y - mean(y))
p = z / sum(z)
output p, y
""",
    "linear": """cell linear
input x: I
state h: H
a = sigmoid(W @ x)
h' = a * h + (1 - a) * (V @ x)
output h'
""",
    "words": """cell words
input match: I, integer: I
state str: H
str' = tanh(len @ match + none @ str + slice @ integer + tuple)
Any = str' * 2
Mapping = Any + npt
output Any, Mapping
""",
    "dims": """cell dims
input x: T
state h: B, np: np
h' = tanh(W @ x + U @ h + V @ np)
np' = Q @ h
output h'
""",
    "sameparam": """cell sameparam
input x: I
state h: H
h' = tanh(W @ x + U @ h + a + b)
output h'
""",
    "onesum": """cell onesum
input x: I
state h: 1
h' = sum(x) * a + h
output h'
""",
    "two_biases": """cell two_biases
input x: I
state h: H
r = sigmoid(W_r @ x + U_r @ h + b_r + c_r)
z = sigmoid(W_z @ x + U_z @ h + b_z + c_z)
n = tanh(W_n @ x + b_n + r * (U_n @ h + c_n))
h' = (1 - z) * n + z * h
output h'
""",
    "gates": """cell gates
input x: I
state l: H, O: H
a = sigmoid(W_a @ x + U_a @ l + V_a @ O + b_a)
b = tanh(W_b @ x + U_b @ l + V_b @ O + b_b)
c = sigmoid(W_c @ x + U_c @ l + V_c @ O + b_c)
d = exp(-relu(W_d @ x + U_d @ O))
l' = a * l + (1 - c) * b * d
O' = c * O + a * b * p_a
output O', b
""",
    "alone": """cell alone
input dk: H, rows: 1
state a: H, first: H
param given: H, team: H, steps: 1
f = sigmoid(dk + given * a - first)
first' = f * first + (1 - f) * rows * a
a' = tanh(first') * team + steps
output a', first
""",
    "alone_mean": """cell alone_mean
input x: H
state h: H
h' = tanh(u * h + x + b)
m = mean(h')
output m, h
""",
    "one_wide": """cell one_wide
input x: H
state h: 1
h' = 0.9 * h + w * mean(x)
output h'
""",
    "two_widths": """cell two_widths
input x: H, y: P
state h: H, g: P
h' = x * h + 1 - x
g' = y * tanh(g)
output h', g'
""",
    "learned": """cell learned
state h: H, c: H
o = sigmoid(b)
h' = o * c
c' = o * tanh(h)
output h', c'
""",
    "mixed_terms": """cell mixed_terms
state h: H, y: H, d: H
param A: H x H, e: H, u: P
p = exp(u) / sum(exp(u))
h' = tanh(A @ (e * h) + e * y + tanh(e) + V @ p)
y' = 0.5 * tanh(y) + layer_norm(e) * mean(u)
d' = tanh(A @ e + A @ y + A @ d)
output h', d'
""",
    "one_sum": """cell one_sum
input x: I
state h: H
param b: 1
a = sum(h) + b
h' = tanh(W @ x + U @ h + b + 0.1 * a)
output h'
""",
}

#: What depends on parameters alone, in two places; a parameter with terms per row and without.
MIXED = """cell mixed
input x: I
state h: H, y: H
param A: H x H, e: H, b: H
o = sigmoid(b) * mean(A @ b)
h' = tanh(A @ (e * h) + e * y + tanh(e) + W @ x)
y' = o * tanh(h) + 0.1 * y
output h', y'
"""
