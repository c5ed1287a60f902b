"""The command `derive` itself, and options that several of its commands have.

In: nothing.  Out: a group of Click, to which commands.py and measurements.py add theirs.
Not here: what a command line ends with (main.py).
"""

from __future__ import annotations

import click

from derive import __version__, targets

DTYPES = ("float32", "float64")

EPILOG = (
    "CELL is an entry of the catalogue, with options (lstm, lstm:peephole=true,forget_bias=1), "
    "or a path to a .cell file."
)

TARGET = click.option(
    "--target",
    default=lambda: ",".join(targets.usual()),
    show_default=",".join(targets.usual()),
    metavar="T",
    help=f"Which targets, with commas: {', '.join(targets.names())}.",
)

OUT = click.option(
    "--out",
    default="generated",
    show_default=True,
    type=click.Path(file_okay=False),
    help="The folder for the files.",
)

JOBS = click.option(
    "--jobs",
    type=click.IntRange(min=1),
    metavar="N",
    help="How many cells at a time. [default: one a processor]",
)


@click.group(
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog=EPILOG,
)
@click.version_option(__version__, prog_name="derive", message="%(prog)s %(version)s")
def derive() -> None:
    """Recurrent cells from equations: derived gradients, generated and verified kernels."""


class WithWidths(click.Command):
    """A command with --size H=32, which also takes --H 32 for any width whose name is no option."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = {option for param in self.params for option in param.opts}
        known.update(ctx.help_option_names)
        words = iter(args)
        found: list[str] = []
        for word in words:
            name, sign, value = word.removeprefix("--").partition("=")
            if not word.startswith("--") or f"--{name}" in known or not name.isidentifier():
                found.append(word)
                if word == "--":
                    found.extend(words)
                continue
            if not sign:
                value = next(words, "")
            if value.isdigit() or name[:1].isupper():
                found.append(f"--size={name}={value}")
            else:
                found += [word] if sign or not value else [word, value]
        return super().parse_args(ctx, found)
