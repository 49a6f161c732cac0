"""Sources of examples, one kind a file. `jaxgan.data.names` opens them by name; `jaxgan.data.transform` resizes their
images."""
