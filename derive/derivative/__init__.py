"""Program -> Program: the derivative in reverse and forward mode.

gradient      rules of both modes, and the Gradient of a step
"""

from derive.derivative.gradient import (
    Derivative as Derivative,
)
from derive.derivative.gradient import (
    Gradient as Gradient,
)
from derive.derivative.gradient import (
    forward as forward,
)
from derive.derivative.gradient import (
    reverse as reverse,
)
from derive.derivative.gradient import (
    reverse_step as reverse_step,
)
