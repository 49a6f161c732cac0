"""Checkpoints: saved atomically, verified by digests, of version 0.1 too.
It knows states as pytrees, not what they are of."""
