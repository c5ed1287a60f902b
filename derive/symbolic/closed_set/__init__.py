"""The closed set of scalar functions: one record each, and their table.

In: nothing.  Out: `TABLE`, {name: Function}, in the order in which functions are listed.
Not here: derivatives of whole expressions (symbolic/functions.py), what mpmath computes
(symbolic/oracle.py).

In order: record.py (what a record holds), normal.py, smooth.py, logistic.py, choice.py,
rectifiers.py, hard.py. docs/how-to/add-a-function.md says how one is added.
"""

from __future__ import annotations

from collections.abc import Mapping

from derive.symbolic.closed_set import choice, hard, logistic, normal, rectifiers, smooth
from derive.symbolic.closed_set.record import Function

TABLE: Mapping[str, Function] = {
    record.name: record
    for family in (logistic, smooth, rectifiers, normal, hard, choice)
    for record in family.RECORDS
}
