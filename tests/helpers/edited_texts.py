"""Edits by hand of janet's generated texts that change a result under one condition alone.

Each multiplies a gradient or an output by 1.001 there, or by 1.00001 in float32. `verify_files` has
to see every one of them: (what it says, target, function, condition, the statement that is put in).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True)
class Edit:
    label: str
    target: str
    before: str
    after: str

    def of(self, files: Mapping[str, str]) -> dict[str, str]:
        """The files with the edit in them; an edit that fits nowhere is a mistake of the test."""
        suffix = {"numpy": ".py", "c": "janet.c"}[self.target]
        ((path, text),) = ((p, t) for p, t in files.items() if p.endswith(suffix))
        assert self.before in text, self
        return {**files, path: text.replace(self.before, self.after)}


def _numpy(label: str, function: str, condition: str, statement: str) -> Edit:
    """`statement` where `condition` holds, at the end of a function of the module."""
    end = {
        "forward": "        outputs: Arrays = {\n            \"h_next\": h_next_all",
        "backward": "        d_params: Arrays = {",
        "step": "        outputs: Arrays = {\n            \"h_next\": h_next,",
    }[function]  # fmt: skip
    return Edit(label, "numpy", end, f"        if {condition}:\n            {statement}\n{end}")


def _c(label: str, function: str, condition: str, factor: str = "1.001") -> Edit:
    """The first output or a gradient by a factor, at the end of a pass; by the first of a team."""
    place = {
        "forward": "args->outputs.h_next",
        "backward": "args->d_params.U_g",
    }[function]
    elements = {
        "forward": "sizes->steps * sizes->rows * sizes->dim_H",
        "backward": "sizes->dim_H * sizes->dim_H",
    }
    bytes_ = 8 if factor == "1.001" else 4
    first = f"{'' if function == 'forward' else '!'}call.reverse ? rest - steps : done"
    before = f"""        DK_NAME({function}_chunk)(&call, {first}, steps, team);
        done += steps;
        dk_publish_steps(pipeline, done);
    }}
"""
    loop = f"""    dk_wait(team);
    const janet_sizes *const sizes = &args->sizes;
    if (sizeof(dk_real) == {bytes_} && dk_team_index(team) == 0 && ({condition})) {{
        for (size_t e = 0; e < {elements[function]}; ++e) {{
            {place}[e] *= (dk_real){factor};
        }}
    }}
    dk_wait(team);
"""
    return Edit(label, "c", before, before + loop)


FORWARD, BACKWARD, STEP = "forward", "backward", "step"
_NO_STATES, _NO_OUTPUTS = 'd_states["h"] is None', 'd_outputs["h_next"] is None'
_RAGGED = "lengths is not None"
_OUT, _GRADIENT = "h_next_all *= 1.001", "d_U_f = d_U_f * 1.001"

NUMPY = (
    *(_numpy(f"{d} > 100, backward", BACKWARD, f"{d} > 100", _GRADIENT) for d in "BHTI"),
    *(_numpy(f"{d} > 100, forward", FORWARD, f"{d} > 100", _OUT) for d in "BHT"),
    _numpy("H == I", BACKWARD, "H == I", _GRADIENT),
    _numpy("T == B", BACKWARD, "T == B", _GRADIENT),
    _numpy("H % 32 and B % 4", BACKWARD, "H % 32 == 0 and B % 4 == 0", _GRADIENT),
    _numpy("reverse, even T", BACKWARD, f"reverse and not {_RAGGED} and T % 2 == 0", _GRADIENT),
    _numpy("lengths all T", BACKWARD, f"{_RAGGED} and (lengths == T).all()", _GRADIENT),
    _numpy(
        "lengths all 0", BACKWARD, f"{_RAGGED} and not lengths.any()",
        "d_h_carry = d_h_carry * 1.001",
    ),
    _numpy("d_states left out, lengths", BACKWARD, f"{_RAGGED} and {_NO_STATES}", _GRADIENT),
    _numpy("d_outputs left out, reverse", BACKWARD, f"reverse and {_NO_OUTPUTS}", _GRADIENT),
    _numpy(
        "d_states left out, lengths, reverse", BACKWARD,
        f"reverse and {_RAGGED} and {_NO_STATES}", _GRADIENT,
    ),
    _numpy(
        "both cotangents left out", BACKWARD, f"{_NO_STATES} and {_NO_OUTPUTS}",
        "d_U_f = d_U_f + 1.0",
    ),
    _numpy("inference with lengths", FORWARD, f"not training and {_RAGGED}", _OUT),
    _numpy("inference with reverse", FORWARD, "not training and reverse", _OUT),
    _numpy("inference, B > 8", FORWARD, "not training and B > 8", _OUT),
    _numpy("step, B > 4", STEP, "B > 4", "h_next = h_next * 1.001"),
    _numpy("writes into x", FORWARD, "B > 1", "x_all[0, 0] += 1.0"),
    _numpy(
        "1e-5 in float32, gradient", BACKWARD, "real is np.float32",
        "d_U_f = d_U_f * real(1.00001)",
    ),
    _numpy(
        "1e-5 in float32, output", FORWARD, "real is np.float32", "h_next_all *= real(1.00001)"
    ),
)  # fmt: skip

_PACKED = "args->packed != NULL"
_HAS_LENGTHS = "args->lengths != NULL"

C = (
    _c("team, forward", FORWARD, "dk_team_size(team) > 1"),
    _c("team, backward", BACKWARD, "dk_team_size(team) > 1"),
    _c("team of 3, reverse", BACKWARD, "dk_team_size(team) == 3 && args->reverse"),
    _c("packed, forward", FORWARD, _PACKED),
    _c("packed, backward", BACKWARD, _PACKED),
    _c("packed, lengths, reverse", BACKWARD, f"{_PACKED} && {_HAS_LENGTHS} && args->reverse"),
    _c("inference with lengths", FORWARD, f"args->saved == NULL && {_HAS_LENGTHS}"),
    _c("T > 200", BACKWARD, "sizes->steps > 200"),
    _c("T > 200, forward", FORWARD, "sizes->steps > 200"),
    _c("T * B > 1000", BACKWARD, "sizes->steps * sizes->rows > 1000"),
    _c("B > 192", BACKWARD, "sizes->rows > 192"),
    _c("H > 192", BACKWARD, "sizes->dim_H > 192"),
    _c("resumed", BACKWARD, "args->resume != 0"),
    _c("d_outputs left out", BACKWARD, f"args->d_outputs.h_next == NULL && {_HAS_LENGTHS}"),
    _c("one step, B > 4", FORWARD, "sizes->steps == 1 && sizes->rows > 4"),
    _c("1e-5 in float32, gradient", BACKWARD, "1", "1.00001"),
    _c("1e-5 in float32, output", FORWARD, "1", "1.00001"),
    Edit(
        "one element past the workspace", "c",  # of a fenced call: elsewhere it breaks the heap
        "    call->args = args;\n",
        "    if (way->threads == 3) { args->workspace[at.dk_total] = 0; }\n"
        "    call->args = args;\n",
    ),
)  # fmt: skip

EDITS = (*NUMPY, *C)
