"""Which lines and branches of the generated texts `derive verify` runs: gcov and coverage.py.

    PYTHONPATH=. python tests/helpers/reached.py [CELL ...] [--strange] [--target=numpy|c]

CELLs are those of the catalogue, or all of it; --strange: and those of strange_cells.py. Prints
what was not run, by file, and which of it UNREACHED explains; ends with status 1 if anything else
was not.

Each cell is verified in a process of its own, with C built without optimising and with nothing
inlined, so that a line stands for itself. Branches are those of conditions in the text: the
compiler's two ways of each, counted over all calls.
"""

from __future__ import annotations

import ctypes
import gzip
import hashlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
FLAGS = (
    "-std=c11", "-O0", "--coverage", "-Dalways_inline=unused", "-march=native", "-fno-math-errno",
    "-fno-trapping-math", "-ffp-contract=fast", "-fPIC", "-pthread", "-w", "-I.",
)  # fmt: skip


#: What no call can reach, by file: what the line says, and why. `missed` leaves these out.
UNREACHED: tuple[tuple[str, str, str], ...] = (
    (r"\.py$", r"^(if inside:|np\.(multiply|add)\(state, [fo], out=here\)|here (\+= o|\*= f))$",
     "`scan` has two forms of an element's step; a cell may need one of them"),
    (r"\.c$", r"dk_check_bytes\(|^return DK_OVERFLOW;",
     "sizes that could overflow were refused before"),
    (r"\.c$", r"\? status : dk_check_pointers\(",
     "only a build without threads refuses a team before it looks at pointers"),
    (r"\.c$", r"\? status : DK_NAME\((forward|backward)_run\)\(args, NULL, pipeline\);",
     "only a build without threads refuses a pipeline"),
    (r"\.c$", r"^if \(panel \* DK_GROUP\(block",
     "false only where products of several widths meet"),
    (r"\.c$", r"= a->dk_back \?", "before and after the loop all rows are one step"),
    (r"\.c$", r"^for \(size_t u = 0; u < units &&",
     "a block of one vector ends with the vector, before the width does"),
    (r"\.c$", r"^DK_DEFINE_GROUP\(",
     "a cell uses some functions of the group; the header has all"),
    (r"\.h$", r"^return DK_OVERFLOW;|SIZE_MAX|^: DK_OVERFLOW;",
     "sizes that could overflow were refused before"),
)  # fmt: skip


def explained(file: str, source: Sequence[str], line: int) -> bool:
    """Whether UNREACHED says why a line of a file is not run, or `packs_nothing` does."""
    text = source[line - 1].strip()
    if any(re.search(of, file) and re.search(what, text) for of, what, _ in UNREACHED):
        return True
    asked = line - 1 if text == "return DK_TOO_SMALL;" else line
    return "packed_count <" in source[asked - 1] and packs_nothing(source, asked)


def packs_nothing(source: Sequence[str], line: int) -> bool:
    """Whether the pass that has this line packs no parameter, for which no array is too small: its
    cell has no matrix, or each is computed from others (`M * U`) and packed with what is
    computed."""
    named = (re.search(r"DK_NAME\((forward|backward)_(prepare|pack)\)\(", text)
             for text in reversed(source[:line]))  # fmt: skip
    of_pass = next(found[1] for found in named if found)
    head = f"DK_FUNCTION DK_NAME({of_pass}_layout) DK_NAME({of_pass}_lay_out)("
    start = next(n for n, text in enumerate(source) if text.startswith(head))
    end = source.index("}", start)
    return not any("dk_take(&at.dk_packed" in text for text in source[start:end])


#: Where lines of functions that every cell with axes has are counted: each uses some of them.
ALONG_AXES = "c/axes.h"


def along_axes(text: Sequence[str]) -> dict[int, int]:
    """The lines of a cell's file that are those of templates/c/kernels/axes.h.j2, which is the same
    text in all of them: {line: line of it}."""
    starts = [n for n, line in enumerate(text, 1) if re.match(r"DK_(FUNCTION|INLINE) ", line)]
    found: dict[int, int] = {}
    for start in starts:
        end = next(n for n in range(start, len(text) + 1) if text[n - 1] == "}")
        if "DK_NAME(" not in text[start - 1]:
            found |= {n: n - starts[0] + 1 for n in range(start, end + 1)}
    return found


@dataclass
class Reached:
    """lines, branches: {(file, line, function): how often}, a branch with its number as well."""

    lines: dict[tuple[str, int, str], int] = field(default_factory=dict)
    branches: dict[tuple[str, int, str, int], int] = field(default_factory=dict)

    def add(self, other: Reached) -> None:
        for name in ("lines", "branches"):
            mine, theirs = getattr(self, name), getattr(other, name)
            for key, count in theirs.items():
                mine[key] = mine.get(key, 0) + count

    def functions(self, place: tuple[str, int]) -> list[str]:
        """The functions that have a branch at a place that was never taken."""
        found = (key[2] for key, n in self.branches.items() if key[:2] == place and n == 0)
        return sorted(set(found))

    def missed(self) -> tuple[set[tuple[str, int]], set[tuple[str, int]]]:
        """Lines that were never run, and lines with a branch that was never taken."""
        run: dict[tuple[str, int], int] = {}
        for (file, line, _), count in self.lines.items():
            run[file, line] = run.get((file, line), 0) + count
        lines = {place for place, count in run.items() if count == 0}
        ways: dict[tuple[str, int], set[str]] = {}
        for (file, line, function, _), count in self.branches.items():
            if count == 0:
                ways.setdefault((file, line), set()).add(function)
        return lines, {place for place in ways if run.get(place)}


# --- in a process of its own --------------------------------------------------------------------


def measure(name: str, target: str, out: Path) -> None:
    """Verifies the kernels of one target and leaves what was counted below `out`."""
    import coverage

    from derive.kernel import c_backend, numpy_backend
    from derive.pipeline import emit
    from derive.verification import verify_files

    plain, loaded = c_backend.compile_library, numpy_backend.load
    built: dict[str, ctypes.CDLL] = {}

    def compile_library(
        sources: Mapping[str, str], *, flags: Sequence[str] = (), defines: Sequence[str] = (),
    ) -> Any:  # fmt: skip
        units = [path for path in sources if path.endswith(".c")]
        if units != [f"c/{cell.name}.c"]:
            return plain(sources)
        more = [flag for flag in flags if flag.startswith("-D")]
        key = "_".join(sorted((*more, *defines))).replace("-D", "").replace("=", "")
        if len(key) > 100:  # for a folder's name; thin weights are the second definition
            key = f"{len(more)}_{'_'.join(defines)}_{hashlib.sha256(key.encode()).hexdigest()[:8]}"
        if key not in built:
            folder = out / "c" / key
            for path, text in sources.items():
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                (folder / path).write_text(text)
            command = ["gcc", *FLAGS, *more, *(f"-D{d}" for d in defines), "-shared", "-o",
                       "kernel.so", *units, "-lm"]  # fmt: skip
            subprocess.run(command, cwd=folder, check=True)
            built[key] = ctypes.CDLL(str(folder / "kernel.so"))
        return built[key]

    def load(text: str, path: str) -> Any:
        (out / "numpy").mkdir(parents=True, exist_ok=True)
        place = out / "numpy" / f"{cell.name}.py"
        place.write_text(text)
        module = loaded(text, path)
        for key in [key for key in module.__dict__ if not key.startswith("__")]:
            del module.__dict__[key]
        exec(compile(text, str(place), "exec"), module.__dict__)
        return module

    cell = cell_of(name)
    c_backend.compile_library = compile_library  # type: ignore[assignment]
    numpy_backend.load = load
    watched = coverage.Coverage(branch=True, data_file=None, include=[str(out / "numpy" / "*")])
    watched.start()
    report = verify_files(cell, emit(cell, target))  # what `verify` does with kernels
    watched.stop()
    if target == "numpy":
        watched.json_report(outfile=str(out / "numpy.json"), ignore_errors=True)
    (out / "report.json").write_text(json.dumps([report.ok, report.text()]))


def cell_of(name: str) -> Any:
    import derive
    from derive.cli.select import cells_of

    sys.path.insert(0, str(Path(__file__).parent))
    from strange_cells import CELLS

    strange = name.removeprefix("strange:")
    return derive.Cell.parse(CELLS[strange]) if strange != name else cells_of([name])[0]


# --- from outside -------------------------------------------------------------------------------


def reached(name: str, target: str) -> Reached:
    """What the verification of one cell runs of a target's texts; an error if it fails."""
    out = Path(tempfile.mkdtemp(prefix="reached-"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OPENBLAS_NUM_THREADS": "1"}
    command = (sys.executable, __file__, "--measure", name, target, str(out))
    subprocess.run(command, check=True, env=environment)
    ok, text = json.loads((out / "report.json").read_text())
    assert ok, text
    found = Reached()
    if target == "numpy":
        found = _of_numpy(out)
    else:
        for folder in sorted((out / "c").iterdir()):
            found.add(_of_c(folder))
        found = _apart(found, text_of(name, target))
    shutil.rmtree(out)
    return found


def _apart(found: Reached, texts: Mapping[str, Sequence[str]]) -> Reached:
    """With the lines of axes.h.j2 as those of a file of their own."""
    (own,) = (path for path in texts if path.endswith(".c"))
    lines = along_axes(texts[own])
    result = Reached()
    for name in ("lines", "branches"):
        for (file, line, *rest), count in getattr(found, name).items():
            place = (ALONG_AXES, lines[line]) if file == own and line in lines else (file, line)
            getattr(result, name)[*place, *rest] = count
    return result


def _of_numpy(out: Path) -> Reached:
    found = Reached()
    data = json.loads((out / "numpy.json").read_text())
    for path, file in data["files"].items():
        name = f"numpy/{Path(path).name}"
        for line in file["executed_lines"]:
            found.lines[name, line, ""] = 1
        for line in file["missing_lines"]:
            found.lines[name, line, ""] = 0
        for start, end in file["executed_branches"]:
            found.branches[name, start, "", end] = 1
        for start, end in file["missing_branches"]:
            found.branches[name, start, "", end] = 0
    return found


def _of_c(folder: Path) -> Reached:
    found = Reached()
    for notes in folder.rglob("*.gcda"):
        subprocess.run(
            ["gcov", "-b", "-c", "-j", str(notes)], cwd=folder, check=True, capture_output=True
        )
    for path in folder.glob("*.gcov.json.gz"):
        data = json.loads(gzip.decompress(path.read_bytes()))
        for file in data["files"]:
            if file["file"].startswith("/"):
                continue
            name = f"c/{Path(file['file']).name}"
            for line in file["lines"]:
                key = (name, line["line_number"], line.get("function_name", ""))
                found.lines[key] = found.lines.get(key, 0) + line["count"]
                for k, branch in enumerate(line["branches"]):
                    place = (*key, k)
                    found.branches[place] = found.branches.get(place, 0) + branch["count"]
    return found


def text_of(name: str, target: str) -> dict[str, list[str]]:
    from derive.pipeline import emit

    return {path: text.split("\n") for path, text in emit(cell_of(name), target).items()}


def unreached(name: str, target: str) -> list[str]:
    """Lines that the verification of a cell never runs and branches that it never takes, in its own
    files, but for what is explained."""
    found, texts = reached(name, target), text_of(name, target)
    own = {file for file, _, _ in found.lines if not file.endswith(".h")}
    assert len(own) == 1, own
    lines, branches = found.missed()
    missed = []
    for what, places in (("never run", lines), ("one way only", branches)):
        for file, line in sorted(places):
            text = texts[file][line - 1].strip()
            if file in own and not explained(file, texts[file], line):
                missed.append(f"{file}:{line}: {what}: {text}")
    return missed


def main(names: Iterable[str], targets: Iterable[str]) -> int:
    """Prints what was not run, cell by cell, and of what they share what none of them runs."""
    header, bad = Reached(), 0
    shared: dict[str, list[str]] = {}
    for name, target in product(names, targets):
        found, texts = reached(name, target), text_of(name, target)
        for path, lines_of in texts.items():
            if path.endswith("derive_kernels.h"):
                shared[path] = lines_of
            elif path.endswith(".c") and (axes := along_axes(lines_of)):
                shared[ALONG_AXES] = lines_of[min(axes) - 1 :]
        lines, branches = found.missed()
        for what, places in (("never run", lines), ("one way only", branches)):
            of = {(f, n) for f, n in places if not f.endswith(".h")}
            shown = [(f, n, texts[f][n - 1].strip()) for f, n in sorted(of)]
            bad += len(shown)
            for file, line, said in shown:
                where = " ".join(found.functions((file, line)))
                mark = "explained" if explained(file, texts[file], line) else what
                print(f"{name} {file}:{line}: {mark}: {said}  [{where}]")
                bad -= mark == "explained"
        count = len({key[:2] for key in found.lines if not key[0].endswith(".h")})
        ways = sum(not key[0].endswith(".h") for key in found.branches)
        print(f"{name} {target}: {count} lines, {ways} branches", flush=True)
        for group, whole in ((found.lines, header.lines), (found.branches, header.branches)):
            for key, times in group.items():
                if key[0].endswith(".h"):
                    whole[key] = whole.get(key, 0) + times
    lines, branches = header.missed()
    for what, places in (("never run", lines), ("one way only", branches)):
        for file, line in sorted(places):
            said = shared[file][line - 1].strip()
            mark = "explained" if explained(file, shared[file], line) else what
            where = " ".join(header.functions((file, line)))
            print(f"{file}:{line}: {mark}: {said}  [{where}]")
            bad += mark != "explained"
    return 1 if bad else 0


def _main(arguments: list[str]) -> int:
    if arguments[:1] == ["--measure"]:
        measure(arguments[1], arguments[2], Path(arguments[3]))
        return 0
    from derive.cells import names

    targets = [word.partition("=")[2] for word in arguments if word.startswith("--target=")]
    chosen = [word for word in arguments if not word.startswith("--")] or list(names())
    if "--strange" in arguments:
        sys.path.insert(0, str(Path(__file__).parent))
        from strange_cells import CELLS

        chosen += [f"strange:{name}" for name in CELLS]
    return main(chosen, targets or ("numpy", "c"))


if __name__ == "__main__":
    raise SystemExit(_main(sys.argv[1:]))
