"""From one step to a sequence: when each equation runs, what is saved, what is fused.

plan                 the parts of a Schedule
phases               before, during and after the loop over time
save_or_recompute    a minimum cut decides what the forward pass keeps
compared             what both passes must see with the same bits
stages               products that run together, and what follows each of them
schedule             Gradient -> Schedule
"""

from derive.schedule.schedule import Phase as Phase
from derive.schedule.schedule import Plan as Plan
from derive.schedule.schedule import Schedule as Schedule
from derive.schedule.schedule import schedule as schedule
