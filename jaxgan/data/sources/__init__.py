"""Where examples come from: a kind of source a file. `jaxgan.data.names` opens them by name, and how images come to a
size is in `jaxgan.data.transform`."""
