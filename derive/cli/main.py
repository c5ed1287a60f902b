"""The command line: commands, options and help. Click lives here.

In: the words of a command line.  Out: an exit status: 0 good, 1 a check failed, 2 wrong use.
Not here: what the commands do (cli/). Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from derive import __version__, targets
from derive.inspect import ALL, FORMATS, NOTATIONS, STAGES, USUAL

GOOD, FAILED, WRONG_USE = 0, 1, 2

DTYPES = ("float32", "float64")
#: Targets that random cells are run through: one in this process, one in a process that may die.
FUZZED = "numpy,c"

_EPILOG = (
    "CELL is an entry of the catalogue, with options (lstm, lstm:peephole=true,forget_bias=1), "
    "or a path to a .cell file."
)

_TARGET = click.option(
    "--target",
    default=lambda: ",".join(targets.usual()),
    show_default=",".join(targets.usual()),
    metavar="T",
    help=f"Which targets, with commas: {', '.join(targets.names())}.",
)

_OUT = click.option(
    "--out",
    default="generated",
    show_default=True,
    type=click.Path(file_okay=False),
    help="The folder for the files.",
)

_JOBS = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many cells at a time. [default: one a processor]",
)


def main(arguments: Sequence[str] | None = None) -> None:
    """The `derive` command."""
    sys.exit(status(arguments))


def status(arguments: Sequence[str] | None = None) -> int:
    """Run a command line; every mistake of the user's ends as text on standard error."""
    from derive.errors import DeriveError, ProgramError, VerificationError

    try:
        code = _derive.main(
            args=None if arguments is None else list(arguments),
            prog_name="derive",
            standalone_mode=False,
        )
        sys.stdout.flush()
        return code or GOOD
    except click.exceptions.Abort:
        click.echo("interrupted", err=True)
        return 130
    except click.ClickException as error:
        error.show()
        return WRONG_USE
    except BrokenPipeError:
        sys.stdout = None  # the reader has gone: do not complain again at exit
        return GOOD
    except (VerificationError, ProgramError) as error:
        click.echo(str(error), err=True)
        return FAILED
    except DeriveError as error:
        click.echo(str(error), err=True)
        return WRONG_USE


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=_EPILOG,
)
@click.version_option(__version__, prog_name="derive", message="%(prog)s %(version)s")
def _derive() -> None:
    """Recurrent cells from equations: derived gradients, generated and verified kernels."""


@_derive.command("list")
@click.argument("words", nargs=-1, metavar="[WORD ...]")
@click.option("--options", is_flag=True, help="Options too, where no WORD is given.")
@click.option("--linear", is_flag=True, help="Recurrences that are affine in their states.")
@click.option(
    "--states",
    metavar="KIND",
    help="matrix: a state has two axes or more; vector: none has; or how many states there are.",
)
def _list(words: tuple[str, ...], options: bool, linear: bool, states: str | None) -> int:
    """The catalogue in groups; with words, the entries that have all of them, and their options.

    A word may be part of a name, a title, an author, a year, an arXiv number, a group or an
    option:  derive list bistable,  derive list lstm peephole,  derive list 2024.
    """
    from derive.cli import catalogue

    return catalogue.run(words, options, linear=linear, states=states)


def _stages_help() -> str:
    width = max(map(len, STAGES))
    return "\n".join(f"  {name.ljust(width)}  {what}" for name, what in STAGES.items())


@_derive.command(
    "show",
    help="One cell: its equations, derived gradient, schedule and cost.\n\n"
    f"\b\nStages:\n{_stages_help()}\n  {ALL.ljust(max(map(len, STAGES)))}  all of them",
    epilog=_EPILOG,
)
@click.argument("cell")
@click.option(
    "--stage",
    "stages",
    multiple=True,
    metavar="S",
    help="What to show, several with commas. "
    f"[default: {','.join(USUAL)}; html: {','.join(targets.names())} too]",
)
@click.option(
    "--format",
    "format_",
    type=click.Choice(tuple(FORMATS)),
    default="text",
    show_default=True,
    help="How to show it.",
)
@click.option(
    "--notation",
    type=click.Choice(tuple(NOTATIONS)),
    default="step",
    show_default=True,
    help="time: h_t, h_{t-1}, sums over t, as papers write; cell and gradient.",
)
@click.option("--size", "sizes", multiple=True, metavar="H=256", help="A width, for the cost.")
@click.option(
    "--shapes",
    multiple=True,
    metavar="T,B,I,H",
    help="What binds at this shape on this machine, for the cost; may be repeated.",
)
@click.option("--threads", type=click.IntRange(min=1), default=1, help="With --shapes.")
@click.option("--measure", is_flag=True, help="With --shapes: measure the machine again.")
@click.option("--verify", is_flag=True, help="Run the quick checks and show their results too.")
@click.option("--open", "open_", is_flag=True, help="With html: write a file, open a browser.")
def _show(
    cell: str,
    stages: tuple[str, ...],
    format_: str,
    notation: str,
    sizes: tuple[str, ...],
    verify: bool,
    open_: bool,
    shapes: tuple[str, ...],
    threads: int,
    measure: bool,
) -> int:
    from derive.cli import show

    return show.run(
        cell, stages, format_, sizes,
        verify=verify, open_=open_, shapes=shapes, threads=threads, measure=measure,
        notation=notation,
    )  # fmt: skip


@_derive.command("read")
@click.argument("file", metavar="FILE.tex")
@click.option("--name", default="paper", show_default=True, metavar="NAME", help="Of the cell.")
@click.option(
    "--as",
    "meanings",
    multiple=True,
    metavar="SYMBOL=MEANING",
    help="Where the equations leave a doubt: input, matrix, vector, scalar, a number, or a "
    "function such as relu; may be repeated.",
)
def _read(file: str, name: str, meanings: tuple[str, ...]) -> int:
    """A paper's equations, in LaTeX as they stand, as .cell text; - reads standard input.

    What was concluded goes to standard error: inputs, states, parameters with their shapes, and
    functions that were guessed. What is no equation is kept as a comment. Exit status: 0 all
    equations were read, 1 some were not and the rest is a cell, 2 the rest is none.
    """
    from derive.cli import read

    return read.run(file, name, meanings)


@_derive.command("generate", epilog=_EPILOG)
@click.argument("cells", nargs=-1, metavar="[CELL ...]")
@_TARGET
@_OUT
@click.option("--check", is_flag=True, help="Write nothing; compare with what is there.")
@_JOBS
def _generate(cells: tuple[str, ...], target: str, out: str, check: bool, jobs: int | None) -> int:
    """Derive, emit, compile and verify; then write the files.

    Without CELL: the whole catalogue. Nothing is written if a verification fails.
    """
    from derive.cli import generate

    return generate.run(cells, target, out, check, jobs)


@_derive.command("verify", epilog=_EPILOG)
@click.argument("cells", nargs=-1, metavar="[CELL ...]")
@_TARGET
@click.option("--json", "as_json", is_flag=True, help="The report as JSON.")
@click.option(
    "--files",
    default="generated",
    show_default=True,
    type=click.Path(file_okay=False),
    help="A folder of generated files: those edited since are checked as they stand.",
)
@click.option(
    "--quick",
    is_flag=True,
    help="Fewer points and sizes, a sample of the mutants; without CELL, of the catalogue too.",
)
@click.option("--all", "everything", is_flag=True, help="With --quick: the whole catalogue.")
@click.option(
    "--functions",
    is_flag=True,
    help="Functions and derivatives alone, in ulp.",
)
@click.option(
    "--mutate-text",
    "edits",
    type=click.IntRange(min=1),
    is_flag=False,
    flag_value=200,
    metavar="[N]",
    help="Edit the generated text in N places, one at a time: is each noticed? [N: 200]",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@_JOBS
def _verify(
    cells: tuple[str, ...], target: str, as_json: bool, files: str, quick: bool, everything: bool,
    functions: bool, edits: int | None, seed: int, jobs: int | None,
) -> int:  # fmt: skip
    """Derive, emit and compile, and check the kernels against independent references.

    Without CELL: the whole catalogue; with --quick a sample of it, unless --all is given.
    """
    from derive.cli import mutate, verify

    if functions:
        return verify.functions(as_json)
    if edits is not None:
        return mutate.run(cells, target, edits, seed, as_json, jobs)
    return verify.run(cells, target, as_json, files, quick, everything, seed, jobs)


@_derive.command("bench", epilog=_EPILOG)
@click.argument("cells", nargs=-1, metavar="[CELL ...]")
@click.option("--shapes", multiple=True, metavar="T,B,I,H", help="A shape; may be repeated.")
@click.option("--threads", default="", metavar="N,M", help="Numbers of threads. [default: 1,2]")
@click.option("--peers", default="", metavar="P,Q", help="Libraries to compare. [default: all]")
@click.option("--modes", default="", metavar="M", help="infer, train. [default: both]")
@click.option("--compile", "compile_", is_flag=True, help="torch.compile too; takes minutes.")
@click.option("--together", is_flag=True, help="All in one process, spinning threads too.")
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


@_derive.command("race", epilog=_EPILOG)
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
@_JOBS
def _race(cells: tuple[str, ...], **options: Any) -> int:
    """Train cells on the same tasks with the same budget: tables, curves, a verdict.

    Rates are searched first, with the same few for every cell and a quarter of the steps. Every
    trial is a file in the folder; a race that was stopped goes on with --resume.
    """
    from derive.cli import race

    return race.run(cells, **options)


@_derive.command("tune", epilog=_EPILOG)
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


@_derive.command("flow", epilog=_EPILOG)
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


@_derive.command("watch", epilog=_EPILOG)
@click.argument("file", type=click.Path(dir_okay=False))
@_TARGET
@_OUT
def _watch(file: str, target: str, out: str) -> int:
    """On each save of a .cell file: generate, verify, and tell what changed. Ctrl-C ends it."""
    from derive.cli import watch

    return watch.run(file, target, out)


@_derive.command("fuzz")
@click.option("--minutes", type=float, metavar="N", help="For how long. [default: 1]")
@click.option("--examples", type=click.IntRange(min=1), metavar="N", help="How many of each.")
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True)
@click.option(
    "--what",
    default="cells,axes",
    show_default=True,
    metavar="W",
    help="cells, axes, texts, files, calls; with commas.",
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


@_derive.command("diff", epilog=_EPILOG)
@click.argument("a", metavar="A")
@click.argument("b", metavar="B")
@click.option("--json", "as_json", is_flag=True, help="The changes as JSON.")
def _diff(a: str, b: str, as_json: bool) -> int:
    """What changed from one cell to another: equations, gradient, parameters, cost.

    Names of intermediates and the order of terms are no change. Exit status: 0 nothing
    changed, 1 something did.
    """
    from derive.cli import diff

    return diff.run(a, b, as_json)


@_derive.command("equal", epilog=_EPILOG)
@click.argument("a", metavar="A")
@click.argument("b", metavar="[B]", required=False)
@click.option("--known", is_flag=True, help="Compare A with every cell of the catalogue.")
@click.option("--json", "as_json", is_flag=True, help="The verdict as JSON.")
def _equal(a: str, b: str | None, known: bool, as_json: bool) -> int:
    """Whether two cells compute the same, and how their parameters correspond.

    Prints the parameter map with its proof, or a counter-example with numbers. Exit status: 0
    equal, 1 decided otherwise (equal in values only, a sub-case, not equal), 3 undecided.

    With --known and one cell: which cells of the catalogue it equals, contains or is contained
    in. Exit status: 0 it equals one, 1 none.
    """
    from derive.cli import equal

    if known == (b is not None):
        raise click.UsageError("give two cells, or one cell with --known")
    return equal.run_known(a, as_json) if b is None else equal.run(a, b, as_json)


@_derive.command("export", epilog=_EPILOG)
@click.argument("cell")
@click.option("--format", "format_", type=click.Choice(("onnx",)), default="onnx")
@click.option("--out", "-o", type=click.Path(dir_okay=False), help="The file. [default: CELL.onnx]")
@click.option("--weights", type=click.Path(dir_okay=False), help="Parameters: .npz, .safetensors.")
@click.option("--size", "sizes", multiple=True, metavar="H=32", help="A width, without --weights.")
@click.option("--layers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--bidirectional", is_flag=True, help="Both directions, side by side.")
@click.option("--lengths", is_flag=True, help="An input with each row's number of steps.")
@click.option("--reverse", is_flag=True, help="Rows run from their last step to the first.")
@click.option("--zero-states", is_flag=True, help="No inputs for initial states.")
@click.option("--as", "form", type=click.Choice(("scan", "function", "operator")), default="scan")
@click.option("--opset", type=int, default=17, show_default=True)
@click.option("--dtype", type=click.Choice(DTYPES), default="float32", show_default=True)
def _export(cell: str, format_: str, sizes: tuple[str, ...], **options: Any) -> int:
    """A cell with its parameters as a file for other systems."""
    from derive.cli import export

    return export.run(cell, sizes, **options)


@_derive.command("weights")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def _weights(file: str, as_json: bool) -> int:
    """What a file of weights holds, and which cell each part fits: ONNX, .npz, .safetensors, .pt,
    .h5, .keras. Exit status: 0 recurrent cells were found, 1 none were."""
    from derive.cli import weights

    return weights.run(file, as_json)


if __name__ == "__main__":
    main()
