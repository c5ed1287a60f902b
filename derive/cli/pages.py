"""`derive list --pages FOLDER`: a page for each entry that is listed, and one that links them.

In: entries in groups, a folder.  Out: FOLDER/index.html and FOLDER/NAME.html.
Not here: what a page of a cell holds (inspect/html/), which entries are listed (catalogue.py).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from derive.build.templates import html_environment
from derive.build.written_files import write_all
from derive.cli import console
from derive.errors import ArgumentError

#: Stages of a page: what a reader of the catalogue looks for. Generated code is left out.
STAGES = ("cell", "graph", "shapes", "structure", "gradient", "cost")


def write(groups: Mapping[str, Mapping[str, str]], folder: str) -> None:
    """groups: {group: {entry: what it is}}. All pages are made before the first is written."""
    from derive import cells
    from derive.inspect import show

    place = Path(folder)
    if place.exists() and not place.is_dir():
        raise ArgumentError(f"--pages takes a folder, and {folder} is a file", hint="--pages pages")
    names = [name for entries in groups.values() for name in entries]
    texts: dict[str, str] = {}
    for name in names:
        console.say(f"{name}.html")
        texts[f"{name}.html"] = show(cells.from_spec(name), STAGES, "html")
    template = html_environment().get_template("html/index.html.j2")
    texts["index.html"] = template.render(groups=groups)
    place.mkdir(parents=True, exist_ok=True)
    write_all(place, texts, "derive list --pages another/folder")
    console.result(f"{len(names)} pages, linked from {place / 'index.html'}")
