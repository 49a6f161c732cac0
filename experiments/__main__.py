"""Lists the experiments: `python -m experiments`. With a name it shows that one's lab note and how to run it.

Nothing is imported but what Python brings, so that the list is there at once.
"""

import argparse
import ast
import difflib
import pathlib
import re
import sys
from typing import NamedTuple


class Experiment(NamedTuple):
    """What an experiment's source says of it: `note` is the module's docstring, `sizes` the values of `--size`."""

    name: str
    note: str
    sizes: tuple[str, ...]

    @property
    def first(self) -> str:
        """The note's first sentence. A name's initials (`J. Doe`) and `et al.` don't end one."""
        return re.split(r"(?<!\bal)(?<!\b[A-Z])\.\s", " ".join(self.note.split()), maxsplit=1)[0].removesuffix(".")


def experiments() -> list[Experiment]:
    """All that lie beside this file, by name."""
    paths = sorted(path for path in pathlib.Path(__file__).parent.glob("*.py") if not path.name.startswith("_"))
    trees = {path.stem: ast.parse(path.read_text(encoding="utf-8")) for path in paths}
    return [Experiment(name, ast.get_docstring(tree) or "", _sizes(tree)) for name, tree in trees.items()]


def _sizes(tree: ast.Module) -> tuple[str, ...]:
    """The keys of `SIZES` in the class `Options`, and laptop, which all have."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == "Options"]
    fields = [node for options in classes for node in options.body if isinstance(node, ast.AnnAssign)]
    tables = [node.value for node in fields if ast.unparse(node.target) == "SIZES" and isinstance(node.value, ast.Dict)]
    keys = [key.value for table in tables for key in table.keys if isinstance(key, ast.Constant)]
    return ("laptop", *(str(key) for key in keys))


def main() -> None:
    """The command line: exits with 0, or with 2 where there is no such experiment."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Lists the experiments.")
    parser.add_argument("name", nargs="?", help="one of them, to see its lab note and how to run it")
    asked = parser.parse_args().name
    known = {experiment.name: experiment for experiment in experiments()}
    if asked is None:
        width = max(map(len, known))
        for each in known.values():
            print(f"{each.name:<{width}}  {each.first}  [{', '.join(size for size in each.sizes if size != 'smoke')}]")
        print("\npython -m experiments NAME says how to run one")
        return
    name = asked.removeprefix("experiments.")
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1)
        hint = f"do you mean {near[0]}?" if near else "python -m experiments lists them"
        print(f"error: no experiment is named {asked}; {hint}", file=sys.stderr)
        sys.exit(2)
    print(known[name].note)
    print(f"\npython -m experiments.{name}           trains it")
    print(f"python -m experiments.{name} --size S  with S one of {', '.join(known[name].sizes)}; laptop is the default")
    print(f"python -m experiments.{name} --help    lists its options")


if __name__ == "__main__":
    main()
