"""Leaky integrate-and-fire neurons, with a surrogate for the derivative of a spike.

As in snntorch (Leaky, RLeaky). The membrane U leaks by beta in 0 .. 1, adds up the input current
and is reset one step after a spike: by the threshold, to zero, or not at all. The spike is 1 where
U exceeds the threshold, strictly (spikingjelly: at the threshold too); the reset passes no
gradient. The surrogates are snntorch's: atan 1 / (1 + (pi u)^2), fast_sigmoid 1 / (1 + 25 |u|)^2,
sigmoid of slope 25. With recurrent the current is x + V z + b, z the spikes of the step before.
Neftci, Mostafa & Zenke 2019, arXiv 1901.09948, for the method. snntorch's reset to zero keeps the
present current in Leaky and drops it in RLeaky; here it is kept in both. Equation numbers not
checked.
"""

from __future__ import annotations

from typing import Annotated, Literal

from derive.catalogue.option import Text, family, to_text

#: The derivative of a spike by u = U - threshold.
SURROGATES = {
    "atan": "1 / (1 + (3.141592653589793 * u)**2)",
    "fast_sigmoid": "1 / (1 + 25 * abs(u))**2",
    "sigmoid": "25 * sigmoid(25 * u) * (1 - sigmoid(25 * u))",
}


@family
def lif(
    *,
    reset: Annotated[Literal["subtract", "zero", "none"], "what a spike does"] = "subtract",
    surrogate: Annotated[
        Literal["atan", "fast_sigmoid", "sigmoid"], "derivative of a spike"
    ] = "atan",
    threshold: Annotated[float, "above which a neuron spikes"] = 1.0,
    recurrent: Annotated[bool, "the spikes of the step before add V z + b to the current"] = False,
) -> Text:
    """LIF: U' = beta U + x, less a reset; a spike where U' > threshold, by a surrogate."""
    current, spike = ("x + V @ z + b", "z'") if recurrent else ("x", "z")
    fired = "r  = stop_gradient(where(U > threshold, 1, 0))\n"
    membrane = {
        "subtract": f"{fired}U' = clip(beta, 0, 1) * U + {current} - r * threshold",
        "zero": f"{fired}U' = (1 - r) * clip(beta, 0, 1) * U + {current}",
        "none": f"U' = clip(beta, 0, 1) * U + {current}",
    }[reset]
    return Text(
        doc="Leaky integrate-and-fire. Neftci et al. 2019, arXiv 1901.09948; snntorch.",
        text=f"""
input  x: H
state  U: H{", z: H" if recurrent else ""}
param  beta: H = 0.9{", V: H x H, b: H" if recurrent else ""}
const  threshold = {to_text(threshold)}

{membrane}
u  = U' - threshold
g  = stop_gradient({SURROGATES[surrogate]})
{spike} = where(u > 0, 1, 0) + g * (u - stop_gradient(u))

output {spike}
""",
    )
