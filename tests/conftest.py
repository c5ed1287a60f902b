"""Makes the hints of error messages a test of their own (tests/helpers holds what tests share).

NumPy's own threads are switched off before it loads: tests run side by side, and a library that
spins for a processor that another process holds is slower by a large factor.
"""

import os
from collections.abc import Iterator

import pytest

for name in ("OPENBLAS_NUM_THREADS", "OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(name, "1")

import hints  # noqa: E402

from derive.errors import CellError  # noqa: E402
from derive.language import check_shapes, parse_text  # noqa: E402

_check, _parse = check_shapes.check, parse_text.parse
_recorder = hints.Recorder()
_recorder.install(parse_text, check_shapes)


def _error_of(source: str) -> CellError | None:
    try:
        _check(_parse(source))
    except CellError as error:
        return error
    return None


@pytest.fixture
def hint_recorder() -> hints.Recorder:
    return _recorder


@pytest.fixture(autouse=True)
def hints_can_be_typed() -> Iterator[None]:
    """What any error message of the test tells its reader to type changes something."""
    yield
    faults = [hints.fault(source, error, _error_of) for source, error in _recorder.take()]
    assert not any(faults), "\n\n".join(filter(None, faults))
