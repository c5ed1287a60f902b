"""Commands that measure and try out: words and options, and what is called with them.

In: a command line, as Click reads it.  Out: exit statuses.
Not here: what the commands do (cli/); commands about cells and files (commands.py).
Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from typing import Any

import click

from derive import targets
from derive.cli.group import DTYPES, EPILOG, JOBS, derive

#: Targets that random cells are run through: one in this process, one in a process that may die.
FUZZED = "numpy,c"


@derive.command("bench", epilog=EPILOG)
@click.argument("cells", nargs=-1, metavar="[CELL ...]")
@click.option("--shapes", multiple=True, metavar="T,B,I,H", help="A shape; may be repeated.")
@click.option("--threads", default="", metavar="N,M", help="Numbers of threads. [default: 1,2]")
@click.option("--peers", default="", metavar="P,Q", help="Libraries to compare. [default: all]")
@click.option("--modes", default="", metavar="M", help="infer, train. [default: both]")
@click.option("--compile", "compile_", is_flag=True, help="torch.compile too; takes minutes.")
@click.option("--together", is_flag=True, help="All in one process, spinning threads too.")
@click.option("--stacks", is_flag=True, help="Stacks of layers and directions, not single layers.")
@click.option("--quick", is_flag=True, help="Tiny shapes, few rounds: try everything out.")
@click.option("--tool", is_flag=True, help="The speed of derive itself, not of its kernels.")
@click.option("--plot", metavar="FILE", help="Draw the fractions of the bound. Needs matplotlib.")
@click.option("--json", "as_json", is_flag=True, help="The figures as JSON.")
def _bench(cells: tuple[str, ...], **options: Any) -> int:
    """Measure the kernels against every peer that is installed, on the same work.

    Without CELL: the cells and shapes that the project's figures are about.
    """
    from derive.cli import bench

    return bench.run(cells, **options)


@derive.command("race", epilog=EPILOG)
@click.argument("cells", nargs=-1, required=True, metavar="CELL ...")
@click.option(
    "--task",
    "tasks",
    default="adding,copy",
    show_default=True,
    metavar="T,U",
    help="adding, copy, parity, dyck, oscillator, selective, digits, permuted_digits, charlm, or "
    "one's own as FILE.py:NAME.",
)
@click.option("--seeds", type=click.IntRange(min=1), default=5, show_default=True)
@click.option(
    "--match",
    type=click.Choice(("params", "width")),
    default="params",
    show_default=True,
    help="What is the same for all cells.",
)
@click.option("--width", type=click.IntRange(min=1), default=32, show_default=True,
              help="Of the first cell, and with --match width of all.")  # fmt: skip
@click.option("--params", type=click.IntRange(min=1), metavar="N",
              help="How many numbers each model has. [default: as the first cell's]")  # fmt: skip
@click.option("--size", "sizes", multiple=True, metavar="R=2", help="A further dimension.")
@click.option("--fixed", multiple=True, metavar="A=FILE.npy",
              help="A fixed array of a cell, as numpy.save writes it.")  # fmt: skip
@click.option("--steps", type=click.IntRange(min=1), metavar="N", help="[default: the task's]")
@click.option("--rows", type=click.IntRange(min=1), metavar="B", help="[default: the task's]")
@click.option("--rates", default="", metavar="R,S", help="[default: 0.01,0.003,0.001]")
@click.option("--target", default=lambda: targets.by_preference()[0].name, metavar="T",
              show_default=targets.by_preference()[0].name, help="Of the kernels.")  # fmt: skip
@click.option("-o", "--out", default="race", show_default=True, type=click.Path(file_okay=False),
              help="The folder for trials and reports.")  # fmt: skip
@click.option("--resume", is_flag=True, help="Go on with the trials that are there.")
@click.option("--executor", default="local", show_default=True, metavar="E",
              help="Who runs trials: local, dask, dask:ADDRESS, slurm:FOLDER.")  # fmt: skip
@click.option("--json", "as_json", is_flag=True, help="All figures as JSON.")
@JOBS
def _race(cells: tuple[str, ...], **options: Any) -> int:
    """Train cells on the same tasks with the same budget: tables, curves, a verdict.

    Rates are searched first, with the same few for every cell and a quarter of the steps. Every
    trial is a file in the folder; a race that was stopped goes on with --resume.
    """
    from derive.cli import race

    return race.run(cells, **options)


@derive.command("tune", epilog=EPILOG)
@click.argument("cell")
@click.option("--shapes", multiple=True, metavar="T,B,I,H", help="A shape; may be repeated.")
@click.option("--threads", default="1", metavar="N,M", help="Numbers of threads. [default: 1]")
@click.option(
    "--dtype",
    type=click.Choice(DTYPES),
    default=DTYPES[0],
    show_default=True,
    help="Of the kernel.",
)
@click.option("--forget", is_flag=True, help="Forget what was found for CELL.")
@click.option("--json", "as_json", is_flag=True, help="What was tried and found as JSON.")
def _tune(
    cell: str, shapes: tuple[str, ...], threads: str, dtype: str, forget: bool, as_json: bool
) -> int:
    """Find the fastest way to run a C kernel here, and remember it.

    All ways give the same bits. Kernels of the same cell, dtype and number of threads that are
    compiled later use what was found.
    """
    from derive.cli import tune

    return tune.run(cell, shapes, threads, dtype, forget, as_json)


@derive.command("flow", epilog=EPILOG)
@click.argument("cells", nargs=-1, required=True, metavar="CELL ...")
@click.option("--steps", type=click.IntRange(min=1), default=100, show_default=True)
@click.option("--size", "sizes", multiple=True, metavar="H=32", help="A width. [default: 32]")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option("--chrono", metavar="NAME", help="The forget bias to initialise for --steps steps.")
@click.option("--plot", type=click.Path(dir_okay=False), help="A picture; needs matplotlib.")
@click.option("--json", "as_json", is_flag=True, help="Blocks and norms as JSON.")
def _flow(
    cells: tuple[str, ...],
    steps: int,
    sizes: tuple[str, ...],
    seed: int,
    chrono: str | None,
    plot: str | None,
    as_json: bool,
) -> int:
    """How gradients flow: the Jacobian of one step, and its products over time."""
    from derive.cli import flow

    return flow.run(cells, steps, sizes, seed, chrono, plot, as_json)


@derive.command("fuzz")
@click.option("--minutes", type=float, metavar="N", help="For how long. [default: 1]")
@click.option("--examples", type=click.IntRange(min=1), metavar="N", help="How many of each.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--what",
    default="cells,axes",
    show_default=True,
    metavar="W",
    help="cells, axes, texts, files, calls, devices; with commas.",
)
@click.option(
    "--target", default=FUZZED, show_default=True, metavar="T", help="What cells are run through."
)
@click.option("--sanitize", is_flag=True, help="Build C with AddressSanitizer and UBSan.")
@click.option("--keep-going", is_flag=True, help="After a fault as well.")
@click.option(
    "--first", type=click.IntRange(min=0), default=0, help="The chunk of 50 to begin with."
)
@click.option("--out", type=click.Path(dir_okay=False), help="A file for what failed.")
def _fuzz(
    minutes: float | None, examples: int | None, seed: int, what: str, target: str,
    sanitize: bool, keep_going: bool, first: int, out: str | None,
) -> int:  # fmt: skip
    """Random cells through every target and oracle; print the smallest that fails.

    Cells and calls are checked against an interpreter and, where it is installed, torch; texts,
    files of weights and strange calls against what they may raise. Needs hypothesis. Exit status:
    0 nothing failed, 1 something did.
    """
    from derive.cli import fuzz

    return fuzz.run(
        minutes, examples, seed, what, target, out,
        first=first, sanitize=sanitize, keep_going=keep_going,
    )  # fmt: skip
