"""Program -> Program: the derivative in reverse and forward mode.

builder       a derivative in the making
rules         reverse mode, equation by equation; a table of both modes
forward       forward mode
gradient      the Gradient of a step
tangent       Step -> the Step that computes its directional derivative as well
tangent_text  the same of a Declaration whose arrays have axes: tangent_rules, tangent_lines
"""

from derive.derivative.builder import (
    Derivative as Derivative,
)
from derive.derivative.forward import (
    forward as forward,
)
from derive.derivative.gradient import (
    Gradient as Gradient,
)
from derive.derivative.gradient import (
    reverse_step as reverse_step,
)
from derive.derivative.rules import (
    reverse as reverse,
)
from derive.derivative.tangent import (
    tangent_step as tangent_step,
)
from derive.derivative.tangent_text import (
    tangent_declaration as tangent_declaration,
)
