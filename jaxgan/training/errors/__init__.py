"""A user's mistakes and a run's early ends, each told in one line. It imports nothing else of `jaxgan.training`."""
