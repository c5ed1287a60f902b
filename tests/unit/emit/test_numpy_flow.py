"""A flow in which a line would read what no earlier one made is refused."""

from __future__ import annotations

from dataclasses import replace

import pytest

from derive import cells, pipeline
from derive.emit.numpy.flow import Fill, Flow, check_flow, flow_of
from derive.emit.numpy.module import _fast
from derive.errors import ProgramError


def flow(spec: str, *, backward: bool = False) -> tuple[Flow, tuple[str, ...]]:
    schedule = pipeline.schedule(cells.from_spec(spec))
    plan = schedule.backward if backward else schedule.forward
    kept = () if backward else schedule.split.saved
    fast = _fast(flow_of(plan), kept, flow_of(plan).table)
    return fast, plan.program.inputs


def refused(found: Flow, given: tuple[str, ...], message: str) -> None:
    with pytest.raises(ProgramError, match=message):
        check_flow(found, given)


@pytest.mark.parametrize("spec", ["lstm", "lstm:layer_norm=ba2016", "gru", "min_gru"])
@pytest.mark.parametrize("backward", [False, True])
def test_flows_of_the_catalogue_pass(spec: str, backward: bool) -> None:
    found, given = flow(spec, backward=backward)
    assert check_flow(found, given) is found


def test_work_out_of_its_order_is_refused() -> None:
    found, given = flow("lstm")
    refused(replace(found, step=found.step[::-1]), given, "is read before it is there")
    refused(replace(found, before=()), given, "is read before it is there")


def test_what_leaves_the_function_has_to_be_made() -> None:
    found, given = flow("lstm")
    refused(replace(found, wanted=found.wanted | {"ghost"}), given, "ghost.*\n.*the caller")


def test_a_scan_reads_what_was_made_before_it() -> None:
    found, given = flow("min_gru")
    assert found.scan
    refused(replace(found, before=found.before[:-1]), given, "is read before it is there")


def test_a_pack_in_memory_is_there_once_every_member_is() -> None:
    found, given = flow("lstm", backward=True)
    fills = [work for work in found.step if isinstance(work, Fill)]
    assert found.filled and len(fills) > 1
    step = tuple(work for work in found.step if work is not fills[0])
    refused(replace(found, step=step), given, "is read before it is there")
