"""What a mistyped name may have been meant to be."""

import difflib
from collections.abc import Iterable

__all__ = ["perhaps"]

OTHER_LENGTH = 0.5  # what as many letters more or less as there are cost of a likeness: wrong ones are more frequent


def perhaps(typed: str, known: Iterable[str]) -> str:
    """Returns `; perhaps you meant NAME` for the known name that is nearest to what was typed, whatever the case of its
    letters, and "" where none is near."""
    word, names = typed.casefold(), {name.casefold(): name for name in known}

    def likeness(name: str) -> float:
        return difflib.SequenceMatcher(None, name, word).ratio() - OTHER_LENGTH * abs(len(name) - len(word)) / len(word)

    near = max(difflib.get_close_matches(word, names, n=5), key=likeness, default=None)
    return "" if near is None else f"; perhaps you meant {names[near]}"
