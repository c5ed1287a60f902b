"""Random pairs of cells for `derive equal`: equal by construction, or with one change.

In: a seed.  Out: two texts, and what was done.
Run as a script: python tests/helpers/equal_fuzz.py COUNT [SEED] makes COUNT pairs of each and
counts what is said of them.

A cell has one or two gates and a candidate, each a function of sums of products. It is made equal
to another by identities of functions that hold for gradients too, and by maps: signs, scales and
shifts of parameters, other names, states times a number. A change is one that no parameters can
undo: another function, a factor of the output, another exponent of the state.
"""

from __future__ import annotations

import random
import re
import sys
import time
from collections import Counter

FUNCTIONS = ("tanh", "sigmoid", "sin", "relu", "softsign", "erf")


def cell(pick: random.Random) -> dict[str, str]:
    """{array: its right side} of a cell with state h, and s where it has two."""
    parts = {}
    for k in range(pick.choice((1, 2))):
        parts[f"z{k}"] = f"sigmoid({_sum(pick, f'z{k}')})"
    function = pick.choice(FUNCTIONS)
    parts["n"] = f"{function}({_sum(pick, 'n')})"
    gate = "z1" if "z1" in parts else "z0"
    if pick.random() < 0.5:
        parts["s'"] = f"z0 * s + (1 - {gate}) * n"
        parts["h'"] = f"{gate} * {pick.choice(('tanh', 'sin'))}(s')"
    else:
        parts["h'"] = f"z0 * h + (1 - {gate}) * n"
    return parts


def _sum(pick: random.Random, k: str) -> str:
    terms = [f"W_{k} @ x", f"U_{k} @ h", f"b_{k}"]
    if pick.random() < 0.2:
        terms[1] = f"u_{k} * h"
    if pick.random() < 0.2:
        terms.append(f"V_{k} @ (x * x)")
    return " + ".join(terms)


def text(parts: dict[str, str], name: str) -> str:
    states = "h: H, s: H" if "s'" in parts else "h: H"
    body = "\n".join(f"{k} = {v}" for k, v in parts.items())
    return f"cell {name}\ninput x: I\nstate {states}\n{body}\noutput h'\n"


# --- what keeps the function ----------------------------------------------------------------


def _replaced(expr: str, name: str, make) -> str:
    """With each call of a function replaced: make(argument)."""
    at = expr.find(name + "(")
    if at < 0 or (at and (expr[at - 1].isalnum() or expr[at - 1] == "_")):
        return expr
    depth, end = 0, at + len(name)
    while True:
        depth += {"(": 1, ")": -1}.get(expr[end], 0)
        end += 1
        if not depth:
            break
    inner = expr[at + len(name) + 1 : end - 1]
    return expr[:at] + f"({make(inner)})" + expr[end:]


IDENTITIES = (
    ("tanh", lambda a: f"2 * sigmoid(2 * ({a})) - 1"),
    ("tanh", lambda a: f"-tanh(-({a}))"),
    ("tanh", lambda a: f"1 - 2 / (exp(2 * ({a})) + 1)"),
    ("sigmoid", lambda a: f"1 - sigmoid(-({a}))"),
    ("sigmoid", lambda a: f"(1 + tanh(({a}) / 2)) / 2"),
    ("sigmoid", lambda a: f"1 / (1 + exp(-({a})))"),
    ("sigmoid", lambda a: f"exp(logsigmoid({a}))"),
    ("sin", lambda a: f"2 * sin(({a}) / 2) * cos(({a}) / 2)"),
    ("sin", lambda a: f"-sin(-({a}))"),
    ("relu", lambda a: f"where(0 < {a}, {a}, 0)"),
    ("relu", lambda a: f"relu(3 * ({a})) / 3"),
    ("softsign", lambda a: f"-softsign(-({a}))"),
    ("erf", lambda a: f"clip(erf({a}), -1, 1)"),
)


def same(parts: dict[str, str], pick: random.Random) -> tuple[dict[str, str], list[str]]:
    parts, done = dict(parts), []
    for _ in range(pick.randint(2, 5)):
        kind = pick.choice(("identity", "sign", "scale", "shift", "name", "state", "order"))
        key = pick.choice(list(parts))
        before = dict(parts)
        if kind == "identity":
            name, make = pick.choice(IDENTITIES)
            parts[key] = _replaced(parts[key], name, make)
        elif kind == "sign":
            k = pick.choice([k for k in parts if "'" not in k])
            parts = {a: re.sub(rf"\bW_{k} @ x", f"(-(W_{k} @ x))", v) for a, v in parts.items()}
        elif kind == "scale":
            k = pick.choice([k for k in parts if "'" not in k])
            parts = {a: re.sub(rf"\bU_{k} @ h", f"3 * (U_{k} @ h)", v) for a, v in parts.items()}
        elif kind == "shift":
            k = pick.choice([k for k in parts if "'" not in k])
            parts = {a: re.sub(rf"\bb_{k}\b", f"(b_{k} - 1 / 2)", v) for a, v in parts.items()}
        elif kind == "name":
            one, other = pick.sample([k for k in parts if "'" not in k], 2)
            parts = {a: _swapped(v, one, other) for a, v in parts.items()}
        elif kind == "state" and "s'" in parts and "4" not in parts["h'"]:
            parts["s'"] = parts["s'"].replace("* n", "* 4 * n")
            parts["h'"] = parts["h'"].replace("(s')", "(s' / 4)")
        elif kind == "order":
            parts[key] = _turned(parts[key])
        if parts != before:
            done.append(kind)
    return parts, done


def _swapped(value: str, one: str, other: str) -> str:
    value = re.sub(rf"\b([WUbuV])_{one}\b", r"\1_@@", value)
    value = re.sub(rf"\b([WUbuV])_{other}\b", rf"\1_{one}", value)
    return value.replace("_@@", f"_{other}")


def _turned(value: str) -> str:
    return re.sub(r"W_(\w+) @ x \+ U_(\w+) @ h", r"U_\2 @ h + W_\1 @ x", value)


def other(parts: dict[str, str], pick: random.Random) -> tuple[dict[str, str], list[str]]:
    parts = dict(parts)
    kind = pick.choice(("function", "factor", "power", "tiny", "gate"))
    if kind == "function":
        name = parts["n"].split("(")[0]
        new = pick.choice([f for f in (*FUNCTIONS, "elu", "softplus") if f != name])
        if {name, new} == {"tanh", "sigmoid"}:
            new = "softsign"
        parts["n"] = new + parts["n"][len(name) :]
    elif kind == "factor":
        parts["h'"] = f"3 / 2 * ({parts[chr(104) + chr(39)]})"
        if "relu" in parts["n"]:
            return other(parts, pick)
    elif kind == "power":
        key = "s'" if "s'" in parts else "h'"
        state = key[0]
        parts[key] = parts[key].replace(f"z0 * {state}", f"z0 * {state} * {state}")
    elif kind == "tiny":
        parts["h'"] = f"{parts[chr(104) + chr(39)]} + h * h / 1000"
    else:
        parts["z0"] = parts["z0"].replace("sigmoid", "hard_sigmoid", 1)
    return parts, [kind]


def pair(seed: int, equal: bool) -> tuple[str, str, list[str]]:
    pick = random.Random(seed)
    first = cell(pick)
    second, done = (same if equal else other)(first, pick)
    if not equal and pick.random() < 0.5:
        second, more = same(second, pick)
        done += more
    return text(first, "one"), text(second, "other"), done


def main(count: int, seed: int) -> None:
    import derive

    verdicts: Counter[tuple[str, str]] = Counter()
    started = time.process_time()
    for number in range(seed, seed + count):
        for wanted in (True, False):
            one, two, done = pair(number, wanted)
            found = derive.equal(derive.Cell.parse(one), derive.Cell.parse(two))
            verdicts["equal" if wanted else "changed", found.status] += 1
            wrong = found.status not in ("equal", "undecided") if wanted else bool(found)
            if wrong or found.status == "undecided":
                print(
                    "WRONG" if wrong else "undecided",
                    number,
                    wanted,
                    found.status,
                    done,
                    flush=True,
                )
        if (number - seed) % 20 == 19:
            print(number, dict(verdicts), flush=True)
    print(dict(verdicts), f"{time.process_time() - started:.0f} s")


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]) if len(sys.argv) > 2 else 0)
