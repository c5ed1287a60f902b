"""Where the templates are and how they are rendered. Jinja lives here.

In: nothing.  Out: a strict Jinja environment.
Not here: what a template receives (inspect/facts/view.py, emit/c/shared_header.py).
"""

from __future__ import annotations

from pathlib import Path

import jinja2


def environment() -> jinja2.Environment:
    """The environment of every template: a name that is missing is an error."""
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(_templates()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


def html_environment() -> jinja2.Environment:
    """The environment of pages: what is inserted is escaped unless a template says `safe`."""
    return environment().overlay(autoescape=True)


def _templates() -> Path:
    """Inside the package where it was installed, beside it in a checkout."""
    here = Path(__file__)
    packaged = here.parents[1] / "_templates"
    return packaged if packaged.exists() else here.parents[2] / "templates"
