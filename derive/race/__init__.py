"""Cells against each other: the same tasks, the same budget, several seeds, and a verdict.

    derive race my.cell lstm gru:reset=before --task adding,copy --seeds 5 -o race
    print(derive.race.load("race"))

| file          | holds                                                                |
| ------------- | -------------------------------------------------------------------- |
| task.py       | what a task is; tasks of a user's file                               |
| made.py       | tasks that are made by a few lines: adding, copy, parity ...         |
| carried.py    | tasks on data: handwritten digits, the help topics of Python         |
| sizes.py      | the width at which a cell has a given number of parameters           |
| trial.py      | one cell, one task, one rate, one seed: trained and judged           |
| executors.py  | who runs trials: processes here, Dask, Slurm                         |
| run.py        | all trials of a race: rates are searched, what is known is not redone |
| verdict.py    | medians, quartiles, paired tests                                     |
| report.py     | tables, JSON, a plot, a page                                         |

Not here: the model that is trained (train/), the command (cli/race.py).
"""

from derive.race.finished import Finished as Finished
from derive.race.finished import load as load
from derive.race.task import Task as Task
from derive.train import Batch as Batch

__all__ = ["Batch", "Finished", "Task", "load"]
