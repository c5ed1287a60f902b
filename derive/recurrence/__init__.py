"""What kind of recurrence a step is, proved from its equations.

linear        which arrays are affine in which
jacobian      which element of a next state meets which element of a state
kind          Step -> Recurrence: linear, in which order, with which coefficients
written_out   arrays as one expression, element by element
ranges        between which numbers arrays lie
bounds        which bounds states keep, how they grow
inverse       the step backwards
hazards       where exponentials overflow, where something is divided by 0
stabiliser    states that outputs do not depend on
witness       what a random point shows
"""

from derive.recurrence.bounds import (
    Bounds as Bounds,
)
from derive.recurrence.bounds import (
    bounds as bounds,
)
from derive.recurrence.hazards import (
    Hazard as Hazard,
)
from derive.recurrence.hazards import (
    hazards as hazards,
)
from derive.recurrence.inverse import (
    Inverse as Inverse,
)
from derive.recurrence.inverse import (
    Solved as Solved,
)
from derive.recurrence.inverse import (
    inverse as inverse,
)
from derive.recurrence.kind import (
    Recurrence as Recurrence,
)
from derive.recurrence.kind import (
    recurrence as recurrence,
)
from derive.recurrence.witness import (
    Witness as Witness,
)
