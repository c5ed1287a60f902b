"""`derive weights FILE`: what a file of weights holds, and which cell each part of it fits.

In: a path.  Out: text or JSON on standard output.
Not here: reading (weights/).
"""

from __future__ import annotations

import dataclasses
import json

from derive.cli import console


def run(file: str, as_json: bool) -> int:
    from derive.weights.contents import contents

    found = contents(file)
    if as_json:
        parts = [{**dataclasses.asdict(part), "sizes": dict(part.sizes)} for part in found.parts]
        data = {"file": found.title, "parts": parts, "others": list(found.others)}
        console.result(json.dumps(data, indent=2))
    else:
        console.result(str(found))
    return 0 if found.parts else 1
