"""Commands on runs and on the library, `python -m scripts.NAME`."""
