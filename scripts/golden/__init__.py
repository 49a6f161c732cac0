"""Commands that write `tests/golden`: numbers of other libraries. Users need none of them."""
