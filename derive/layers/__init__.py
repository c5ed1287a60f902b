"""Stacks and directions of any cell, over batches of sequences.

rnn           RNN: layers and directions, with parameters
at_once       all layers in one call
sequence      one cell over sequences that end and start afresh
compose       cells from cells: masks, fresh starts, stacks
sizes         how wide each layer is
given         what a user hands to layers
checkpoint    parameters in files
"""

from derive.layers.rnn import RNN as RNN
from derive.layers.rnn import LayersRun as LayersRun
