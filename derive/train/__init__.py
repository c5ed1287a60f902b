"""Training with NumPy alone: a model around any cell, losses, optimisers.

    model = derive.train.Model(derive.cells.janet(), symbols=50, outputs=50, I=16, H=64)
    adam = derive.train.Adam(model.params)
    for x, y in batches:                       # x [T, B] integers, y [T, B] integers
        loss, grads = model.gradients(derive.train.Batch(x, y))
        derive.train.clip_by_norm(grads, 1.0)
        adam.step(grads, 3e-3)

| file          | holds                                                        |
| ------------- | ------------------------------------------------------------ |
| losses.py     | cross entropy and squared error, with their gradients        |
| optimizers.py | Adam, SGD, clipping by norm, how a rate falls                |
| model.py      | embedding, layers of a cell, dropout, readout; save and load |

Where PyTorch is installed, its optimisers train the modules of torch/ instead.
Not here: the gradient of a cell (derived), what is trained on what (race/).
"""

from derive.train.losses import cross_entropy as cross_entropy
from derive.train.losses import squared_error as squared_error
from derive.train.model import Batch as Batch
from derive.train.model import Model as Model
from derive.train.optimizers import SGD as SGD
from derive.train.optimizers import Adam as Adam
from derive.train.optimizers import clip_by_norm as clip_by_norm
from derive.train.optimizers import cosine as cosine
from derive.train.optimizers import linear as linear

__all__ = [
    "SGD", "Adam", "Batch", "Model", "clip_by_norm", "cosine", "cross_entropy", "linear",
    "squared_error",
]  # fmt: skip
