"""What networks are built of: one attention, one residual block, one norm, one convolution.

A block carries the parameter names of the published checkpoints (`norm1`, `conv1`, `to_q`, ...)
wherever such a checkpoint has it, so that loading one is a rule instead of a table. Blocks know
images `[B, H, W, C]`, tokens `[B, N, C]` and vectors `[B, C]`; they know no network.
"""
