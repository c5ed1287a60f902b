"""A cell whose arrays, constants and dimensions all have other names.

In: a Cell.  Out: another one, which computes the same.
"""

from __future__ import annotations

import re

import derive

DECLARING = ("param", "input", "state", "fixed")
_WORD = re.compile(r"(?<![0-9A-Za-z_.])[A-Za-z_]\w*")


def renamed(cell: derive.Cell) -> derive.Cell:
    groups = (cell.inputs, cell.states, cell.params)
    names = {name for group in groups for name in group}
    shapes = " ".join(str(dim) for group in groups for shape in group.values() for dim in shape)
    dims = {word: f"N{k}" for k, word in enumerate(sorted(set(_WORD.findall(shapes))))}
    lines = [line for line in cell.to_text().splitlines() if not line.startswith(("cell", "doc"))]
    for line in lines:
        if line.startswith("const"):
            names.update(re.findall(r"(\w+)\s*=", line))
        elif "=" in line and line.split(" ")[0] not in (*DECLARING, "output"):
            names.update(each.strip().rstrip("'") for each in line.split("=")[0].split(","))
    arrays = {name: f"q{k}_{name[0]}" for k, name in enumerate(sorted(names))}

    def other(word: re.Match[str]) -> str:
        return arrays.get(word[0], dims.get(word[0], word[0]))

    found = ["cell copy"]
    for line in lines:
        # The x between widths is no name.
        marked = (
            re.sub(r"(?<=\w) x (?=[\w(])", " \0 ", line) if line.startswith(DECLARING) else line
        )
        found.append(_WORD.sub(other, marked).replace("\0", "x"))
    return derive.Cell.parse("\n".join(found) + "\n")
