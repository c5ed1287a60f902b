"""Edits of generated C.

In: {path: text} of one kernel, the shared header among them.  Out: Edits of the kernel's source
and of those parts of the header that it uses.
Not here: C in general. The text is taken apart into tokens, and only forms are known that
generated code has; an edit that does not compile is found out by the compiler.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from derive.verification.edits import Edit, scaled

_TOKEN = re.compile(
    r"(?P<skip>\s+|\\\n|/\*.*?\*/|//[^\n]*)"
    r"|(?P<line>^[ ]*\#[ ]*(?:include|if|ifdef|ifndef|elif|else|endif|pragma|error|undef)\b[^\n]*)"
    r"|(?P<define>^[ ]*\#[ ]*define[ ]+\w+(?:\([^)]*\))?)"
    r"|(?P<string>\"(?:\\.|[^\"\\])*\"|'(?:\\.|[^'\\])*')"
    r"|(?P<number>0[xX][0-9a-fA-F.]+(?:[pP][+-]?\d+)?[uUlLfF]*"
    r"|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[uUlLfF]*)"
    r"|(?P<name>DK_NAME\(\w+\)|DK_GROUP\(\w+, \w+\)|\w+)"
    r"|(?P<op>->|\+\+|--|<<=|>>=|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%&|^]=|\#\#|[^\s\w])",
    re.MULTILINE | re.DOTALL,
)

#: One operator for another.
_OTHERS = {
    "<": ("<=", "comparison"), "<=": ("<", "comparison"), ">": (">=", "comparison"),
    ">=": (">", "comparison"), "==": ("!=", "comparison"), "!=": ("==", "comparison"),
    "&&": ("||", "condition"), "||": ("&&", "condition"),
    "+": ("-", "operator"), "-": ("+", "operator"), "*": ("+", "operator"),
    "/": ("*", "operator"), "%": ("/", "operator"),
    "+=": ("-=", "operator"), "-=": ("+=", "operator"), "*=": ("+=", "operator"),
}  # fmt: skip

_KEYWORDS = frozenset(
    "auto break case const continue default do else enum extern for goto if inline register return "
    "sizeof static struct switch typedef union volatile while _Alignas _Alignof".split()
)
_TYPES = re.compile(
    r"(?:void|char|short|int|long|float|double|unsigned|signed|size_t|u?int\d+_t|R|real"
    r"|dk_(?:f32|f64|i32|i64|u32|u64|X|vector|real|team|share|barrier|status|way|span|place"
    r"|(?:matrix|segment|product|source|target|factor|outer|state|mask)(?:_\w+)?)"
    r"|(?:DK_NAME\()?\w*(?:args|call|sizes|team|layout|kept|arrays|memory|values|params|inputs|states"
    r"|outputs)\)?)$"
)
_DECLARED = re.compile(
    r"(?:^|[;{(,]|\\\n)\s*(?P<type>(?:static\s+)?(?:const\s+)?"
    r"(?:DK_NAME\(\w+\)|[A-Za-z_]\w*(?:\s*\#\#\s*\w+)*))"
    r"\s+(?P<star>(?:\*\s*(?:const\s+)?)*)(?P<name>[A-Za-z_]\w*)\s*(?=[=;,)\[])",
    re.MULTILINE,
)
#: Other names of the same type that are tried in the place of one.
NAMES = 2


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int
    end: int


#: Makes an Edit of one file: (start, end, new, kind).
_Maker: TypeAlias = Callable[[int, int, str, str], Edit]


def edits(files: Mapping[str, str]) -> list[Edit]:
    """Of the source everything, of the shared header what the source reaches by name."""
    found: list[Edit] = []
    members = _members(files.values())
    for path, chunks in _reached(files).items():
        for chunk in chunks:
            found += _of_chunk(path, files[path], chunk, members)
    return found


# --- what a kernel uses ---------------------------------------------------------------------


def _reached(files: Mapping[str, str]) -> dict[str, list[tuple[int, int]]]:
    """Pieces of text of each file: functions and macros that the sources reach by name.

    A name that a macro pastes together, dk_load_##X, reaches every name that begins so.
    """
    pieces = {path: _pieces(text) for path, text in files.items()}
    named: dict[str, list[tuple[str, tuple[int, int]]]] = {}
    for path, of_file in pieces.items():
        for start, end in of_file:
            for name in _defines(files[path][start:end]):
                named.setdefault(name, []).append((path, (start, end)))
    seen: set[tuple[str, tuple[int, int]]] = set()
    todo = [(path, piece) for path in files if path.endswith(".c") for piece in pieces[path]]
    asked: set[str] = set()
    while todo:
        path, piece = todo.pop()
        if (path, piece) in seen:
            continue
        seen.add((path, piece))
        text = files[path][slice(*piece)]
        for name in set(re.findall(r"\w+(?:\s*\#\#)?", text)) - asked:
            asked.add(name)
            begin = name.removesuffix("##").rstrip()
            if begin != name:
                for other in named:
                    todo += named[other] if other.startswith(begin) else ()
            else:  # dk_tanh of a text for both precisions is dk_tanh_f32 and dk_tanh_f64
                for other in (name, f"{name}_f32", f"{name}_f64"):
                    todo += named.get(other, ())
    return {path: [p for p in pieces[path] if (path, p) in seen] for path in files}


def _pieces(text: str) -> list[tuple[int, int]]:
    """Where each macro, function or type at the outermost level is."""
    pieces, depth, start = [], 0, None
    position = 0
    for token in _tokens(text):
        if token.start < position:
            continue
        if token.kind == "define" and depth == 0:
            end = token.start
            while (end := text.find("\n", end + 1)) > 0 and text[end - 1] == "\\":
                pass
            position = len(text) if end < 0 else end
            pieces.append((token.start, position))
            start = None
            continue
        if token.kind in ("line", "define"):
            continue
        start = token.start if start is None else start
        depth += {"{": 1, "}": -1, "(": 1, ")": -1}.get(token.text, 0)
        if depth == 0 and token.text in (";", "}"):
            if token.text == "}" and re.match(r"\s*\w*\s*;", text[token.end :]):
                continue  # of a type: its name follows
            pieces.append((start, token.end))
            start = None
    return pieces


def _defines(piece: str) -> list[str]:
    """The names that a piece defines; those that a macro pastes are left to its users."""
    if match := re.match(r"[ ]*#[ ]*define[ ]+(\w+)", piece):
        return [match[1]]
    match = re.match(r"[^({;=]*?(\w+)\s*\(", piece)
    if match and match[1] not in ("__attribute__", "DK_DEFINE_GROUP", "DK_NAME"):
        return [match[1]]
    if match := re.search(r"(\w+)\s*;\s*$", piece):
        return [match[1]]
    return re.findall(r"\b(?:DK_\w+|dk_\w+)\b", piece)[:1]


# --- edits ----------------------------------------------------------------------------------


def _tokens(text: str, start: int = 0, end: int | None = None) -> list[_Token]:
    found = []
    for match in _TOKEN.finditer(text, start, len(text) if end is None else end):
        kind = match.lastgroup or "op"
        if kind != "skip":
            found.append(_Token(kind, match[0], match.start(), match.end()))
    return found


def _members(texts: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """For each member of a structure the others of its type there."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        for body in re.findall(r"struct(?:\s+\w+)?\s*\{([^{}]*)\}", text):
            by_type: dict[str, list[str]] = {}
            for line in re.sub(r"/\*.*?\*/", "", body, flags=re.DOTALL).split(";"):
                if match := re.match(r"\s*([\w\s]+?[\s*]+)(\w+)\s*(?:\[.*)?$", line.split(",")[0]):
                    names = [match[2], *re.findall(r",\s*\**(\w+)", line)]
                    by_type.setdefault(re.sub(r"\s+", "", match[1]), []).extend(names)
            for names in by_type.values():
                for name in names:
                    found.setdefault(name, tuple(n for n in names if n != name))
    return found


def _of_chunk(
    path: str, text: str, chunk: tuple[int, int], members: Mapping[str, tuple[str, ...]]
) -> Iterator[Edit]:
    start, end = chunk
    tokens = [t for t in _tokens(text, start, end) if t.kind not in ("line", "define")]
    body = text[start:end]
    if re.match(r"\s*(?:typedef|enum)\b", body) or "(" not in body:
        return
    declared: dict[str, list[str]] = {}
    for match in _DECLARED.finditer(body):
        if match["type"].split()[-1] not in _KEYWORDS:
            kind = re.sub(r"\s+|static|const", "", match["type"] + match["star"])
            declared.setdefault(kind, []).append(match["name"])
    types = {name: kind for kind, names in declared.items() for name in names}

    def edit(first: int, last: int, new: str, kind: str) -> Edit:
        return Edit(path, first, last, new, kind)

    for k, token in enumerate(tokens):
        before = tokens[k - 1] if k else None
        after = tokens[k + 1] if k + 1 < len(tokens) else None
        if before is None or after is None:
            continue
        if token.kind == "number":
            if before.text != "(" or tokens[k - 2].text not in ("_Alignas", "_Pragma"):
                yield from _of_number(edit, token)
        elif token.kind == "op":
            yield from _of_operator(edit, text, tokens, k)
        elif token.text in ("if", "while") and after.text == "(":
            close = _closing(tokens, k + 1)
            inner = text[after.end : tokens[close].start]
            if token.text == "if":
                yield edit(after.end, tokens[close].start, f"!({inner})", "condition")
        elif token.kind == "name" and token.text not in _KEYWORDS and not _is_declared(tokens, k):
            yield from _of_name(edit, token, before, after, declared, types, members)
        if before.text in (";", "{", "}") and token.kind == "name":
            yield from _of_statement(edit, text, tokens, k)


def _of_number(edit: _Maker, token: _Token) -> Iterator[Edit]:
    match = re.fullmatch(r"(\d+\.?\d*(?:[eE][+-]?\d+)?)([uUlLfF]*)", token.text)
    if match is None:
        return
    number, suffix = match.groups()
    if "." in number or "e" in number or "E" in number:
        new = repr(scaled(float(number)))
        yield edit(token.start, token.end, new + suffix, "constant")
        return
    yield edit(token.start, token.end, f"{int(number) + 1}{suffix}", "constant")
    if int(number):
        yield edit(token.start, token.end, f"{int(number) - 1}{suffix}", "constant")


def _of_operator(edit: _Maker, text: str, tokens: Sequence[_Token], k: int) -> Iterator[Edit]:
    token, before, after = tokens[k], tokens[k - 1], tokens[k + 1]
    if token.text == "##" or before.text == "##":
        return
    is_operand = before.kind in ("name", "number") or before.text in (")", "]")
    is_operand = is_operand and before.text not in _KEYWORDS
    if token.text in _OTHERS and is_operand:
        pointer = token.text == "*" and (
            _TYPES.match(before.text) or after.text in (")", ",", "*", "const")
        )
        if not pointer:
            new, kind = _OTHERS[token.text]
            yield edit(token.start, token.end, new, kind)
    elif token.text == "-" and (after.kind in ("name", "number") or after.text == "("):
        if not is_operand:
            yield edit(token.start, token.end, " ", "sign")
    elif token.text == "!" and after.text != "=":
        yield edit(token.start, token.end, " ", "condition")
    if token.text == "[" and before.kind == "name" and not _is_declared(tokens, k - 1):
        close = _closing(tokens, k)
        inner = text[token.end : tokens[close].start]
        if inner.strip():
            yield edit(token.end, tokens[close].start, f"({inner}) + 1", "index")
    if token.text == "?":
        yield from _of_choice(edit, text, tokens, k)


def _of_choice(edit: _Maker, text: str, tokens: Sequence[_Token], k: int) -> Iterator[Edit]:
    """a ? b : c  ->  a ? c : b"""
    depth, colon, choices = 0, None, 0
    for j in range(k + 1, len(tokens)):
        word = tokens[j].text
        depth += {"(": 1, "[": 1, "{": 1, ")": -1, "]": -1, "}": -1}.get(word, 0)
        if depth < 0 or (depth == 0 and word in (",", ";")):
            if colon is not None:
                one = text[tokens[k].end : tokens[colon].start].strip()
                two = text[tokens[colon].end : tokens[j].start].strip()
                new = f" {two} : {one}"
                if "\n" not in new or "\\\n" not in new:
                    yield edit(tokens[k].end, tokens[j].start, new, "choice")
            return
        if depth == 0 and word == "?":
            choices += 1
        elif depth == 0 and word == ":":
            if choices == 0 and colon is None:
                colon = j
            choices -= 1


def _of_name(
    edit: _Maker,
    token: _Token,
    before: _Token,
    after: _Token,
    declared: Mapping[str, Sequence[str]],
    types: Mapping[str, str],
    members: Mapping[str, tuple[str, ...]],
) -> Iterator[Edit]:
    if "##" in (before.text, after.text) or after.text == "(":
        return
    if before.text in ("->", "."):
        others: Sequence[str] = members.get(token.text, ())
    else:
        others = declared.get(types.get(token.text, ""), ())
    near = [name for name in dict.fromkeys(others) if name != token.text]
    for name in near[:1] + near[1:][-NAMES + 1 :]:
        yield edit(token.start, token.end, name, "name")


def _of_statement(edit: _Maker, text: str, tokens: Sequence[_Token], k: int) -> Iterator[Edit]:
    """A statement that is not there: an assignment, a call, continue or break."""
    token, after = tokens[k], tokens[k + 1]
    if token.text not in ("continue", "break"):
        if token.text in _KEYWORDS or after.kind == "name" or after.text in ("*", ":", "##"):
            return
        if _TYPES.match(token.text) or after.text == ";":
            return
    depth = 0
    for j in range(k, len(tokens)):
        depth += {"(": 1, "{": 1, ")": -1, "}": -1}.get(tokens[j].text, 0)
        if depth < 0:
            return
        if depth == 0 and tokens[j].text == ";":
            yield edit(token.start, tokens[j].start, "", "statement")
            return


def _is_declared(tokens: Sequence[_Token], k: int) -> bool:
    """Whether the name at k is being declared: a type stands before it."""
    j = k - 1
    while j >= 0 and tokens[j].text in ("*", "const"):
        j -= 1
    if j < 0:
        return True
    word = tokens[j]
    between = k - 1 - j
    if word.kind != "name" or word.text in _KEYWORDS - {"const", "static", "unsigned"}:
        return False
    return between == 0 or bool(_TYPES.match(word.text))


def _closing(tokens: Sequence[_Token], k: int) -> int:
    """The bracket that closes the one at k."""
    depth = 0
    for j in range(k, len(tokens)):
        depth += {"(": 1, "[": 1, ")": -1, "]": -1}.get(tokens[j].text, 0)
        if depth == 0:
            return j
    return len(tokens) - 1
