"""Pairs of cells as data: equal under a map written to hide it, and not equal though it seems so.

In: nothing.  Out: EQUAL, VALUES, DIFFERENT: {name: (one cell, the other)}, each as text.
"""

from __future__ import annotations

X = "input x: I\nstate h: H\n"
LSTM = (
    "input x: I\nstate h: H, c: H\n"
    "i = sigmoid(W_i @ x + U_i @ h + b_i)\nf = sigmoid(W_f @ x + U_f @ h + b_f)\n"
    "g = tanh(W_g @ x + U_g @ h + b_g)\no = sigmoid(W_o @ x + U_o @ h + b_o)\n"
)
TAIL = "c' = f * c + i * g\nh' = o * tanh(c')\n"
RNN = X + "h' = tanh(W @ x + U @ h + b)\n"
THREE = "input x: I\nstate p: H, q: H, r: H\n"


def _of(text: str, name: str = "one") -> str:
    output = "" if "output" in text else "output h'\n"
    return f"cell {name}\n{text}{output}"


def _pair(one: str, other: str) -> tuple[str, str]:
    return _of(one), _of(other, "other")


#: Equal, values and gradients.
EQUAL = {
    # scales and biases that are absorbed
    "a scale of rows": _pair(RNN, X + "param s: H\nh' = tanh(s * (V @ x + b2 + A @ h))\n"),
    "a scalar scale": _pair(RNN, X + "param s: 1\nh' = tanh(s * (V @ x + b2) + A @ h)\n"),
    "two square matrices": _pair(
        RNN, X + "param A: H x H, B: H x H\nh' = tanh(W @ x + A @ (B @ h) + b)\n"
    ),
    "numbers inside a product": _pair(
        X.replace("H", "I") + "h' = tanh(W @ x + U @ h)\n",
        X.replace("H", "I") + "h' = tanh(A @ (2 * x) - B @ (h / 2))\n",
    ),
    "a bias before the product": _pair(RNN, X + "param c: H\nh' = tanh(W @ x + U @ (h + c) + b)\n"),
    "two biases": _pair(RNN, X + "h' = tanh(W @ x + p - q + U @ h)\n"),
    "a shifted bias": _pair(RNN, X + "h' = tanh(W @ x + 3 * b - 7 / 2 + U @ h)\n"),
    "transposed and negated": _pair(RNN, X + "param W: I x H\nh' = -tanh(W.T @ x + U.T @ h - b)\n"),
    "a diagonal scale of inputs": _pair(
        RNN, X + "param d: I\nh' = tanh(W @ (d * x) + U @ h + b)\n"
    ),
    "scale inside layer_norm, plain cell first": _pair(
        X + "h' = layer_norm(W @ x + U @ h)\n",
        X + "h' = layer_norm(2 * (W @ x + U @ h))\n",
    ),
    "scale inside layer_norm": _pair(
        X + "h' = tanh(layer_norm(2 * (W @ x + U @ h)))\n",
        X + "h' = tanh(layer_norm(U @ h + W @ x))\n",
    ),
    "a matrix and its transpose": _pair(
        X + "param A: K x H\nh' = tanh(W @ x + A.T @ (A @ h))\n",
        X + "param B: H x R\nh' = tanh(W @ x + B @ (B.T @ h))\n",
    ),
    "layer_norm written out": _pair(
        X + "h' = tanh(layer_norm(W @ x + U @ h))\n",
        X + "v = W @ x + U @ h\nd = v - mean(v)\nh' = tanh(d / sqrt(mean(d * d) + 0.00001))\n",
    ),
    # states in another form
    "a doubled state among gates": _pair(
        X + "z = sigmoid(A @ x + B @ h)\nh' = z * h + (1 - z) * tanh(W @ x + U @ h)\n",
        "input x: I\nstate g: H\nz = sigmoid(A @ x + B @ g)\n"
        "g' = z * g + 2 * (1 - z) * tanh(W @ x + U @ g)\ny = g' / 2\noutput y\n",
    ),
    "the pre-activation as state": _pair(
        RNN, "input x: I\nstate a: H\na' = W @ x + U @ tanh(a) + b\ny = tanh(a')\noutput y\n"
    ),
    "c four times as large": _pair(
        LSTM + TAIL, LSTM + "c' = f * c + 4 * (i * g)\nh' = o * tanh(c' / 4)\n"
    ),
    "c negated": _pair(LSTM + TAIL, LSTM + "c' = f * c - i * g\nh' = -o * tanh(c')\n"),
    "a shifted state": _pair(
        "input x: I\nstate s: H\nparam V: O x H\ns' = tanh(W @ x + U @ s)\ny = V @ s'\noutput y\n",
        "input x: I\nstate s: H\nparam V: O x H\nt = tanh(W @ x + U @ (s - 3))\ns' = t + 3\n"
        "y = V @ t\noutput y\n",
    ),
    "a state times three": _pair(
        "input x: I\nstate s: H\nparam V: O x H\ns' = sin(W @ x + U @ s)\ny = V @ s'\noutput y\n",
        "input x: I\nstate s: H\nparam V: O x H\ns' = 3 * sin(W @ x + U @ s)\n"
        "y = V @ s'\noutput y\n",
    ),
    "three states in another order, with signs": _pair(
        THREE + "p' = tanh(A @ x + q)\nq' = tanh(B @ x + r)\nr' = tanh(C @ x + p)\n"
        "y = p' + q' + r'\noutput y\n",
        THREE + "r' = tanh(A @ x - p)\np' = -tanh(B @ x - q)\nq' = -tanh(C @ x + r)\n"
        "y = r' - p' - q'\noutput y\n",
    ),
    "states by other names": _pair(
        LSTM + TAIL,
        (LSTM + TAIL)
        .replace("h", "%")
        .replace("c", "h")
        .replace("%", "c")
        .replace("tanc", "tanh")
        .replace("sigmoid", "sigmoid")
        + "output c'\n",
    ),
    "a state that repeats another": _pair(
        "input x: I\nstate h: H\nh' = tanh(W @ x + U @ h)\n",
        "input x: I\nstate h: H, k: H\nh' = tanh(W @ x + U @ k)\nk' = tanh(U @ k + W @ x)\n",
    ),
    # identities of functions
    "a clip that never clips": _pair(
        X + "h' = clip(tanh(W @ x + U @ h), -1, 1)\n", X + "h' = tanh(W @ x + U @ h)\n"
    ),
    "a maximum that is never taken": _pair(
        X + "h' = maximum(sigmoid(W @ x + U @ h), -1 / 2)\n", X + "h' = sigmoid(W @ x + U @ h)\n"
    ),
    "a double angle": _pair(
        X + "a = W @ x + U @ h\nh' = sin(2 * a)\n",
        X + "b = V @ x + R @ h\nh' = 2 * sin(b) * cos(b)\n",
    ),
    "half angles": _pair(
        X + "a = W @ x + U @ h\nh' = cos(a)\n",
        X + "b = V @ x + R @ h\nh' = 1 - 2 * sin(b / 2) ** 2\n",
    ),
    "a sum of angles": _pair(
        X + "h' = sin(W @ x + U @ h)\n",
        X + "p = W @ x\nq = U @ h\nh' = sin(p) * cos(q) + cos(p) * sin(q)\n",
    ),
    "a sum of hyperbolic angles": _pair(
        X + "h' = tanh(W @ x + U @ h)\n",
        X + "p = tanh(W @ x)\nq = tanh(U @ h)\nh' = (p + q) / (1 + p * q)\n",
    ),
    "twice a hyperbolic angle": _pair(
        X + "h' = tanh(W @ x + U @ h)\n",
        X + "t = tanh(V @ x + R @ h)\nh' = 2 * t / (1 + t * t)\n",
    ),
    "tanh by sigmoids": _pair(RNN, X + "a = V @ x + R @ h + d\nh' = sigmoid(a) - sigmoid(-a)\n"),
    "tanh by exponentials": _pair(
        RNN, X + "a = V @ x + R @ h + d\nh' = (exp(a) - exp(-a)) / (exp(a) + exp(-a))\n"
    ),
    "sigmoid by its reciprocal": _pair(
        X + "h' = sigmoid(W @ x + U @ h)\n", X + "h' = 1 - 1 / (1 + exp(V @ x + R @ h))\n"
    ),
    "softplus by a logarithm": _pair(
        X + "h' = tanh(softplus(W @ x + U @ h))\n",
        X + "h' = tanh(log(1 + exp(1000 * (V @ x + R @ h))))\n",
    ),
    "softplus of both signs": _pair(
        X + "h' = tanh(W @ x + U @ h)\n",
        X + "a = W @ x + U @ h\nh' = tanh(softplus(a) - softplus(-a))\n",
    ),
    "a leaky relu by where": _pair(
        X + "h' = tanh(leaky_relu(W @ x + U @ h))\n",
        X + "a = 3 * (W @ x + U @ h)\nh' = tanh(where(a <= 0, a / 100, a) / 3)\n",
    ),
    "relu by where": _pair(
        X + "h' = tanh(relu(W @ x + U @ h))\n",
        X + "a = V @ x + R @ h\nh' = tanh(where(0 < a, a, 0))\n",
    ),
    "softsign by an absolute value": _pair(
        X + "h' = softsign(W @ x + U @ h)\n",
        X + "a = W @ x + U @ h\nh' = a / (1 + abs(a))\n",
    ),
    "silu by its parts": _pair(
        X + "h' = tanh(silu(W @ x + U @ h))\n",
        X + "a = V @ x + R @ h\nh' = tanh(a * (1 + tanh(a / 2)) / 2)\n",
    ),
    "minimum by a maximum": _pair(
        X + "h' = tanh(minimum(W @ x, U @ h))\n", X + "h' = -tanh(maximum(-(V @ x), -(R @ h)))\n"
    ),
    "maximum the other way round": _pair(
        X + "a = W @ x\nh' = maximum(a * h, h)\n", X + "a = W @ x\nh' = maximum(h, a * h)\n"
    ),
    # gates
    "what z keeps": _pair(
        X + "z = sigmoid(W_z @ x + U_z @ h)\nh' = z * h + (1 - z) * tanh(W @ x)\n",
        X + "k = sigmoid(V_z @ x + R_z @ h)\nh' = h + k * (tanh(V @ x) - h)\n",
    ),
    "all gates renamed in a circle": _pair(
        LSTM + TAIL,
        LSTM.replace("_i", "_1")
        .replace("_f", "_i")
        .replace("_g", "_f")
        .replace("_o", "_g")
        .replace("_1", "_o")
        + TAIL,
    ),
    "gates by tanh": _pair(
        LSTM + TAIL,
        LSTM.replace(
            "i = sigmoid(W_i @ x + U_i @ h + b_i)", "i = (1 + tanh(W_i @ x + U_i @ h + b_i)) / 2"
        )
        + TAIL,
    ),
    "a candidate by a sigmoid": _pair(
        LSTM + TAIL,
        LSTM.replace("tanh(W_g @ x + U_g @ h + b_g)", "2 * sigmoid(W_g @ x + U_g @ h + b_g) - 1")
        + TAIL,
    ),
    "low rank with signs": _pair(
        X + "param A: H x R, B: R x H\nh' = tanh(W @ x + A @ (B @ h))\n",
        X + "param C: H x K, D: K x H\nh' = tanh(W @ x - C @ (D @ h))\n",
    ),
}

#: Equal in values; gradients differ somewhere, or one of the two is no number.
VALUES = {
    "relu and maximum": _pair(
        X + "h' = relu(W @ x + U @ h)\n", X + "h' = maximum(W @ x + U @ h, 0)\n"
    ),
    "abs and where": _pair(
        X + "h' = abs(W @ x + U @ h)\n", X + "a = W @ x + U @ h\nh' = where(a > 0, a, -a)\n"
    ),
    "relu and half a sum": _pair(
        X + "h' = relu(W @ x + U @ h)\n", X + "a = W @ x + U @ h\nh' = (a + abs(a)) / 2\n"
    ),
    "hard_sigmoid and clip": _pair(
        X + "h' = hard_sigmoid(W @ x + U @ h)\n",
        X + "h' = clip((W @ x + U @ h) / 6 + 1 / 2, 0, 1)\n",
    ),
    "a root of a square": _pair(
        X + "a = W @ x + U @ h\nh' = sqrt(a * a)\n", X + "h' = abs(W @ x + U @ h)\n"
    ),
    "a stopped gradient": _pair(
        X + "h' = sin(W @ x + U @ h)\n", X + "h' = sin(W @ x + stop_gradient(U @ h))\n"
    ),
    "exp of log": _pair(X + "l = log(W @ x + U @ h)\nh' = exp(l)\n", X + "h' = W @ x + U @ h\n"),
    "a quotient of itself": _pair(
        X + "d = W @ x\nq = 1 / d\nh' = tanh(U @ h) * (d * q)\n",
        X + "h' = tanh(U @ h)\nparam W: H x I\n",
    ),
}

#: Not equal, though it seems so: sub-cases, other functions, other widths.
DIFFERENT = {
    # other parameter spaces
    "a scalar bias": _pair(X + "param b: 1\nh' = tanh(W @ x + U @ h + b)\n", RNN),
    "another width of a state": _pair(
        "input x: I\nstate h: H, c: H\nparam A: H x H, B: H x H\n"
        "c' = tanh(W @ x + B @ h)\nh' = tanh(A @ c' + U @ c)\nparam U: H x H\n",
        "input x: I\nstate h: H, c: K\nparam A: H x K, B: K x H\n"
        "c' = tanh(W @ x + B @ h)\nh' = tanh(A @ c' + U @ c)\nparam U: H x K\n",
    ),
    "a square projection": _pair(
        "input x: I\nstate h: H, c: H\nparam P: H x H\nc' = sigmoid(V @ h) * c + W @ x\n"
        "h' = P @ tanh(c')\n",
        "input x: I\nstate h: Q, c: H\nparam P: Q x H\nc' = sigmoid(V @ h) * c + W @ x\n"
        "h' = P @ tanh(c')\n",
    ),
    "low rank and full": _pair(
        X + "h' = tanh(W @ x + U @ h)\n",
        X + "param A: H x R, B: R x H\nh' = tanh(W @ x + A @ (B @ h))\n",
    ),
    "a diagonal recurrence": _pair(X + "h' = tanh(W @ x + u * h + b)\n", RNN),
    "a tied matrix": _pair(
        X.replace("I", "H") + "param U: H x H\nh' = tanh(U @ (x + h))\n",
        X.replace("I", "H") + "h' = tanh(W @ x + U @ h)\n",
    ),
    "a bias that is positive": _pair(X + "param b: H\nh' = tanh(W @ x + U @ h + exp(b))\n", RNN),
    "a bias within bounds": _pair(X + "param b: H\nh' = tanh(W @ x + U @ h + tanh(b))\n", RNN),
    "a bias before the product alone": _pair(
        X + "param c: H, U: H x H\nh' = tanh(W @ x + U @ (h + c))\n", RNN
    ),
    "one bias for two gates": _pair(
        X + "z = sigmoid(V @ x + b)\nh' = z * h + tanh(W @ x + b)\n",
        X + "z = sigmoid(V @ x + d)\nh' = z * h + tanh(W @ x + b)\n",
    ),
    "a matrix, and another one transposed": _pair(
        X + "param A: K x H\nh' = tanh(W @ x + A.T @ (A @ h))\n",
        X + "param A: K x H, B: K x H\nh' = tanh(W @ x + B.T @ (A @ h))\n",
    ),
    "a symmetric matrix": _pair(
        X + "param U: H x H\nh' = tanh(U @ h + U.T @ h + W @ x)\n",
        X + "param U: H x H\nh' = tanh(U @ h + W @ x)\n",
    ),
    # evidence that is none
    "sum over two and mean": _pair(
        X + "h' = tanh(W @ h + sum(x) / 2)\n", X + "h' = tanh(W @ h + mean(x))\n"
    ),
    "sum over three and mean of units": _pair(
        X + "h' = tanh(W @ x + sum(h) / 3)\n", X + "h' = tanh(W @ x + mean(h))\n"
    ),
    "a late exponential": _pair(
        RNN, X + "a = W @ x + U @ h + b\nh' = tanh(a) + exp(20 * a - 200)\n"
    ),
    "a late step": _pair(RNN, X + "a = W @ x + U @ h + b\nh' = tanh(a) + where(a > 100, 1, 0)\n"),
    "a single point": _pair(RNN, X + "a = W @ x + U @ h + b\nh' = where(a == 1 / 3, 0, tanh(a))\n"),
    "a clip far out": _pair(X + "h' = W @ x + U @ h\n", X + "h' = clip(W @ x + U @ h, -50, 50)\n"),
    "a tiny term": _pair(
        X + "h' = sin(W @ x + U @ h)\n",
        X + "a = W @ x + U @ h\nh' = sin(a) + a * a / 100000000000\n",
    ),
    "nearly the same constant": _pair(
        X + "h' = 0.3333333333333 * h + tanh(W @ x)\n", X + "h' = h / 3 + tanh(W @ x)\n"
    ),
    "layer_norm of twice a sum without parameters": _pair(
        X + "h' = layer_norm(2 * h) + tanh(W @ x)\n", X + "h' = layer_norm(h) + tanh(W @ x)\n"
    ),
    "sum and sum of absolute values": _pair(
        X + "h' = tanh(W @ x) * sum(h * h)\n", X + "h' = tanh(W @ x) * sum(h) * sum(h)\n"
    ),
    # other functions
    "old and new c": _pair(LSTM + TAIL, LSTM + "c' = f * c + i * g\nh' = o * tanh(c)\n"),
    "the forget gate outside": _pair(
        LSTM + TAIL, LSTM + "c' = f * (c + i * g)\nh' = o * tanh(c')\n"
    ),
    "c without tanh": _pair(LSTM + TAIL, LSTM + "c' = f * c + i * g\nh' = o * c'\n"),
    "coupled gates": _pair(
        LSTM + TAIL,
        LSTM.replace("i = sigmoid(W_i @ x + U_i @ h + b_i)\n", "").replace(
            "g = tanh", "i = 1 - f\ng = tanh"
        )
        + TAIL,
    ),
    "a reset after the product": _pair(
        X + "r = sigmoid(V @ x + R @ h)\nh' = tanh(W @ x + U @ (r * h))\n",
        X + "r = sigmoid(V @ x + R @ h)\nh' = tanh(W @ x + r * (U @ h))\n",
    ),
    "twice tanh": _pair(RNN, X + "h' = 2 * tanh(W @ x + U @ h + b)\n"),
    "softsign": _pair(RNN, X + "h' = softsign(W @ x + U @ h + b)\n"),
    "relu and softplus": _pair(
        X + "h' = tanh(relu(W @ x + U @ h))\n",
        X + "h' = tanh(softplus(20 * (W @ x + U @ h)) / 20)\n",
    ),
    "leaky at another slope": _pair(
        X + "h' = tanh(leaky_relu(W @ x + U @ h))\n",
        X + "h' = tanh(maximum(W @ x + U @ h, (W @ x + U @ h) / 99))\n",
    ),
    "less and less or equal": _pair(
        X + "a = W @ x + U @ h\nh' = where(a < 0, 1, 0) + tanh(a)\n",
        X + "a = W @ x + U @ h\nh' = where(a <= 0, 1, 0) + tanh(a)\n",
    ),
    "sign squared": _pair(
        X + "a = W @ x + U @ h\nh' = sign(a) ** 2 * tanh(V @ x)\n",
        X + "h' = tanh(V @ x)\nparam W: H x I, U: H x H\n",
    ),
    "a root of a square without abs": _pair(
        X + "a = W @ x + U @ h\nh' = sin(sqrt(a * a))\n", X + "h' = sin(W @ x + U @ h)\n"
    ),
    "floor and the number": _pair(
        X + "h' = floor(W @ x + U @ h)\n", X + "h' = W @ x + U @ h - 1 / 2\n"
    ),
    "gelu and silu": _pair(
        X + "h' = gelu(W @ x + U @ h)\n", X + "h' = silu(1.702 * (W @ x + U @ h)) / 1.702\n"
    ),
    "another clip": _pair(
        X + "h' = hard_tanh(W @ x + U @ h)\n", X + "h' = clip(W @ x + U @ h, -1, 1.0000001)\n"
    ),
    "the input of the step before": _pair(
        "input x: I\nstate h: H, p: H\np' = W @ x\nh' = tanh(p + U @ h)\n",
        X + "h' = tanh(W @ x + U @ h)\n",
    ),
    "a logistic without parameters": _pair(
        X + "h' = 2 * sigmoid(h) - 1 + W @ x\n", X + "h' = tanh(h) + W @ x\n"
    ),
    "a small square": _pair(
        X + "h' = relu(W @ x + U @ h)\n", X + "h' = relu(W @ x + U @ h) + h * h / 1000\n"
    ),
    "the previous output": _pair(
        X + "h' = tanh(W @ x + U @ h)\noutput h\n", X + "h' = tanh(W @ x + U @ h)\n"
    ),
    "a decay of a half": _pair(X + "h' = h / 2 + W @ x\n", X + "h' = 0.5001 * h + W @ x\n"),
    "two inputs exchanged": _pair(
        "input x: I, y: I\nstate h: H\nh' = tanh(W @ x) * h + V @ y\n",
        "input x: I, y: I\nstate h: H\nh' = tanh(W @ y) * h + V @ x\n",
    ),
    "a mean over another width": _pair(
        X.replace("x: I", "x: H") + "h' = tanh(U @ h) + mean(x)\n",
        X.replace("x: I", "x: H") + "h' = tanh(U @ h) + sum(x) / 4\n",
    ),
    "a cube of a bias": _pair(LSTM + TAIL, LSTM.replace("b_f)", "b_f * b_f)") + TAIL),
}
