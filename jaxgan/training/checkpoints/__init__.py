"""Checkpoints: saved atomically, verified by digests, of version 0.1 too.
It knows states as pytrees, and nothing of what is in them."""
