"""Games of several shapes on `jaxgan.update`, as small as possible; `tests/core/test_games.py` runs each in every way.

A module has the objectives, `make(axis_name)` for an iteration, and `start()` for a state and a batch of 8. Where
accumulation has a meaning, `make(accumulate=n)` is the iteration of single updates, on draws of their own.
"""
