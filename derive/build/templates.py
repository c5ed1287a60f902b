"""Where the templates are and how they are rendered. Jinja lives here.

In: nothing.  Out: a strict Jinja environment.
Not here: what a template receives (inspect/facts/view.py, emit/c/shared_header.py), the folder in
which compiled templates are kept (cache.py).

Jinja turns a template into Python code, which takes longer than deriving a cell and rendering it:
a process does so once, and keeps the code for later ones beside the compiled libraries.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import sys
from pathlib import Path

import jinja2

from derive.build import cache


@functools.cache
def environment() -> jinja2.Environment:
    """The environment of every template: a name that is missing is an error."""
    return jinja2.Environment(
        bytecode_cache=_Compiled(),
        loader=jinja2.FileSystemLoader(_templates()),
        undefined=jinja2.StrictUndefined,
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


@functools.cache
def html_environment() -> jinja2.Environment:
    """The environment of pages: what is inserted is escaped unless a template says `safe`."""
    return environment().overlay(autoescape=True)


def _templates() -> Path:
    """Inside the package where it was installed, beside it in a checkout."""
    here = Path(__file__)
    packaged = here.parents[1] / "_templates"
    return packaged if packaged.exists() else here.parents[2] / "templates"


class _Compiled(jinja2.BytecodeCache):
    """The code of templates in the cache. A file's name is its checksum: code that is not whole
    would crash the interpreter."""

    def load_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        for path in cache.found(_key(bucket), _SUFFIX, warn=False):
            with contextlib.suppress(OSError):  # another process may remove old entries
                data = path.read_bytes()
                if path.stem == hashlib.sha256(data).hexdigest():
                    bucket.bytecode_from_string(data)

    def dump_bytecode(self, bucket: jinja2.bccache.Bucket) -> None:
        data = bucket.bytecode_to_string()
        name = f"{hashlib.sha256(data).hexdigest()}{_SUFFIX}"
        cache.put(data, _key(bucket), name, prune=False, warn=False)


_SUFFIX = ".template"


def _key(bucket: jinja2.bccache.Bucket) -> str:
    """Of what the code of a template depends on: its text, how it is read, Jinja, and Python."""
    env = bucket.environment
    options = (env.autoescape, env.trim_blocks, env.lstrip_blocks, env.undefined.__name__)
    parts = (bucket.key, bucket.checksum, str(options), jinja2.__version__, sys.version)
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:40]
