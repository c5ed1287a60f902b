"""Commands about cells and files: words and options, and what is called with them.

In: a command line, as Click reads it.  Out: exit statuses.
Not here: what the commands do (cli/); commands that measure and try out (measurements.py).
Nothing heavy is imported before a command runs.
"""

from __future__ import annotations

from typing import Any

import click
from click.core import ParameterSource

from derive import targets
from derive.cli.group import DTYPES, EPILOG, JOBS, OUT, TARGET, WithWidths, derive
from derive.inspect import ALL, FORMATS, NOTATIONS, STAGES, USUAL


@derive.command("list")
@click.argument("words", nargs=-1, metavar="[WORD ...]")
@click.option("--options", is_flag=True, help="Options too, where no WORD is given.")
@click.option(
    "--linear",
    is_flag=True,
    help="Linear recurrences: next states are affine in all states together, or one state after "
    "the other, each once those before it are known for all steps. A parallel scan is legal.",
)
@click.option(
    "--states",
    metavar="KIND",
    help="matrix: a state has two axes or more; vector: none has; or how many states there are.",
)
@click.option(
    "--pages", metavar="FOLDER", help="Write a page for each entry that is listed, and an index."
)
def _list(
    words: tuple[str, ...], options: bool, linear: bool, states: str | None, pages: str | None
) -> int:
    """The catalogue in groups; with words, the entries that have all of them, and their options.

    A word may be part of a name, a title, an author, a year, an arXiv number, a group or an
    option:  derive list bistable,  derive list lstm peephole,  derive list 2024.
    """
    from derive.cli import catalogue

    return catalogue.run(words, options, linear=linear, states=states, pages=pages)


def _stages_help() -> str:
    width = max(map(len, STAGES))
    return "\n".join(f"  {name.ljust(width)}  {what}" for name, what in STAGES.items())


@derive.command(
    "show",
    help="One cell: its equations, derived gradient, schedule and cost.\n\n"
    f"\b\nStages:\n{_stages_help()}\n  {ALL.ljust(max(map(len, STAGES)))}  all of them",
    epilog=EPILOG,
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


@derive.command("read")
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


@derive.command("generate", epilog=EPILOG)
@click.argument("cells", nargs=-1, metavar="[CELL ...]")
@TARGET
@OUT
@click.option("--check", is_flag=True, help="Write nothing; compare with what is there.")
@JOBS
def _generate(cells: tuple[str, ...], target: str, out: str, check: bool, jobs: int | None) -> int:
    """Derive, emit, compile and verify; then write the files.

    Without CELL: the whole catalogue. Nothing is written if a verification fails.
    """
    from derive.cli import generate

    return generate.run(cells, target, out, check, jobs)


@derive.command("verify", epilog=EPILOG)
@click.argument("cells", nargs=-1, metavar="[CELL ...]")
@TARGET
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
@JOBS
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


@derive.command("watch", epilog=EPILOG)
@click.argument("file", type=click.Path(dir_okay=False))
@TARGET
@OUT
@click.option("--page", is_flag=True, help="Show it in the browser too: a page that follows.")
@click.option("--port", type=click.IntRange(0, 65535), default=0, metavar="N",
              help="Of the page's address. [default: a free one]")  # fmt: skip
@click.option("--no-open", is_flag=True, help="Print the page's address, and open no browser.")
def _watch(file: str, target: str, out: str, page: bool, port: int, no_open: bool) -> int:
    """On each save of a .cell file: generate, verify, and tell what changed. Ctrl-C ends it.

    A variant is looked at again when a file changes that it is based on. The address of --page
    has a token, and answers on this machine alone.
    """
    if page:
        from derive.cli import watch_page

        return watch_page.run(file, target, out, port=port, open_=not no_open)
    if port or no_open:
        raise click.UsageError("--port and --no-open are of a page: derive watch FILE --page")
    from derive.cli import watch

    return watch.run(file, target, out)


@derive.command("diff", epilog=EPILOG)
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


@derive.command("equal", epilog=EPILOG)
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


@derive.command("export", cls=WithWidths, epilog=EPILOG)
@click.argument("cell")
@click.option("--format", "format_", type=click.Choice(("onnx", "mcu")), default="onnx")
@click.option(
    "--out", "-o", type=click.Path(), help="The file, or the folder. [default: CELL.onnx, CELL_mcu]"
)
@click.option(
    "--weights",
    type=click.Path(dir_okay=False),
    help="Parameters: .npz, .safetensors; for mcu also .pt, .h5, .keras, .onnx of other systems.",
)
@click.option("--size", "sizes", multiple=True, metavar="H=32", help="A width; --H 32 is the same.")
@click.option("--dtype", type=click.Choice((*DTYPES, "q15", "int8")),
              help="mcu: q15 is fixed point, int8 of weights. [default: float32]")  # fmt: skip
@click.option("--activations", type=click.Choice(("float32", "q15")),
              help="int8: what all but matrices is in. [default: float32]")  # fmt: skip
@click.option("--layers", type=click.IntRange(min=1), default=1, show_default=True)
@click.option("--bidirectional", is_flag=True, help="Both directions, side by side.")
@click.option("--lengths", is_flag=True, help="An input with each row's number of steps.")
@click.option("--reverse", is_flag=True, help="Rows run from their last step to the first.")
@click.option("--zero-states", is_flag=True, help="No inputs for initial states.")
@click.option("--as", "form", type=click.Choice(("scan", "function", "operator")), default="scan")
@click.option("--opset", type=int, default=17, show_default=True)
@click.option("--from", "source", metavar="SYSTEM", help="mcu: whose names the weights have.")
@click.option("--prefix", help="mcu: what the names of the weights begin with.")
@click.option("--layer", type=click.IntRange(min=0), help="mcu: which layer of the weights.")
@click.option("--steps", type=click.IntRange(1, 1000), help="mcu: of the example in main.c.")
@click.option("--data", type=click.Path(dir_okay=False),
              help="q15: inputs [T, B, width] by their names, .npz.")  # fmt: skip
@click.option(
    "--range", "ranges", multiple=True, metavar="x=4", help="q15: of an input or a state."
)
@click.pass_context
def _export(
    context: click.Context, /, cell: str, format_: str, sizes: tuple[str, ...], **options: Any
) -> int:
    """A cell with its parameters as files for other systems: an ONNX model, or a folder of C for
    a microcontroller with a main.c that runs it."""
    from derive.cli import export

    given = {
        name
        for name in options
        if context.get_parameter_source(name) is ParameterSource.COMMANDLINE
    }
    return export.run(cell, format_, sizes, given, **options)


@derive.command("weights")
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--json", "as_json", is_flag=True, help="The same as JSON.")
def _weights(file: str, as_json: bool) -> int:
    """What a file of weights holds, and which cell each part fits: ONNX, .npz, .safetensors, .pt,
    .h5, .keras. Exit status: 0 recurrent cells were found, 1 none were."""
    from derive.cli import weights

    return weights.run(file, as_json)
