"""Every formula in PyTorch: importing this fills `HAND`."""

import gated_by_hand  # noqa: F401
import memories_by_hand  # noqa: F401
import neurons_by_hand  # noqa: F401
import spaces_by_hand  # noqa: F401
from torch_by_hand import HAND

__all__ = ["HAND"]
