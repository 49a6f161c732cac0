"""Lists the experiments: `python -m experiments`. With a name it shows that one's lab note and how to run it.

Nothing is imported but what Python brings, so that the list is there at once.
"""

import argparse
import ast
import difflib
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import NamedTuple


class Experiment(NamedTuple):
    """An experiment as its source describes it: `note` is the module's docstring, `presets` the values of
    `--preset`."""

    name: str
    note: str
    presets: tuple[str, ...]

    @property
    def first(self) -> str:
        """The note's first sentence. A name's initials (`J. Doe`) and `et al.` don't end one."""
        return re.split(r"(?<!\bal)(?<!\b[A-Z])\.\s", " ".join(self.note.split()), maxsplit=1)[0].removesuffix(".")


def experiments() -> list[Experiment]:
    """All that lie beside this file, by name."""
    paths = sorted(path for path in pathlib.Path(__file__).parent.glob("*.py") if not path.name.startswith("_"))
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    return [Experiment(name, ast.get_docstring(tree) or "", _presets(name, trees)) for name, tree in trees.items()]


def _presets(name: str, trees: Mapping[str, ast.Module]) -> tuple[str, ...]:
    """The keys of `PRESETS` in the class `Options`, or in that of the experiment which it inherits, and laptop, which
    all have."""
    classes = [node for node in trees[name].body if isinstance(node, ast.ClassDef) and node.name == "Options"]
    for field in (node for options in classes for node in options.body if isinstance(node, ast.AnnAssign)):
        if ast.unparse(field.target) == "PRESETS" and isinstance(field.value, ast.Dict):
            return ("laptop", *(str(key.value) for key in field.value.keys if isinstance(key, ast.Constant)))
    bases = [ast.unparse(base).removesuffix(".Options") for options in classes for base in options.bases]
    return next((_presets(base, trees) for base in bases if base in trees), ("laptop",))


def main() -> None:
    """The command line: exits with 0, or with 2 where there is no such experiment."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Lists the experiments.")
    parser.add_argument("name", nargs="?", help="one of them, to see its lab note and how to run it")
    found, others = parser.parse_known_args()
    asked = found.name
    if others:
        name = "NAME" if asked is None else asked.removeprefix("experiments.")
        print(f"error: {others[0]} is no option here; python -m experiments.{name} takes options", file=sys.stderr)
        sys.exit(2)
    known = {experiment.name: experiment for experiment in experiments()}
    if asked is None:
        width = max(map(len, known))
        for each in known.values():
            presets = ", ".join(preset for preset in each.presets if preset != "smoke")
            print(f"{each.name:<{width}}  {each.first}  [{presets}]")
        print("\npython -m experiments NAME says how to run one")
        return
    name = asked.removeprefix("experiments.")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"perhaps you meant {near[0]}" if near else "python -m experiments lists them"
        print(f"error: no experiment is named {asked}; {hint}", file=sys.stderr)
        sys.exit(2)
    print(known[name].note)
    presets = ", ".join(known[name].presets)
    print(f"\npython -m experiments.{name}             trains it")
    print(f"python -m experiments.{name} --preset P  with P one of {presets}; laptop is the default")
    print(f"python -m experiments.{name} --help      lists its options")


if __name__ == "__main__":
    main()
