"""Lists the experiments: `python -m experiments`. With a name it shows that one's lab note and how to run it.

Nothing is imported but what Python brings, so that the list is there at once.
"""

import argparse
import ast
import difflib
import io
import os
import pathlib
import re
import sys
from collections.abc import Mapping
from typing import NamedTuple, NoReturn


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


def fail(message: str) -> NoReturn:
    """Ends with a line, without the control characters that a name may have, and status 2."""
    print("error:", "".join(each if each.isprintable() else "?" for each in message), file=sys.stderr)
    sys.exit(2)


def main() -> None:
    """The command line: exits with 0, or with 2 where there is no such experiment."""
    parser = argparse.ArgumentParser(prog="python -m experiments", description="Lists the experiments.")
    parser.add_argument("name", nargs="?", help="one of them, to see its lab note and how to run it")
    parser.add_argument("--version", action="store_true", help="print jaxgan's version")
    given, more = parser.parse_known_args()
    if given.version:
        from jaxgan import __version__  # of which the list has no need

        print("jaxgan", __version__)
        return
    asked = given.name
    known = {experiment.name: experiment for experiment in experiments()}
    if more:
        name = "NAME" if asked is None else asked.removeprefix("experiments.")
        fail(f"{more[0]} is no option here; python -m experiments.{name} takes options")
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
        fail(f"no experiment is named {asked}; {hint}")
    print(known[name].note)
    presets = ", ".join(known[name].presets)
    print(f"\npython -m experiments.{name}             trains it")
    print(f"python -m experiments.{name} --preset P  with P one of {presets}; laptop is the default")
    print(f"python -m experiments.{name} --help      lists its options")


def run() -> None:
    """Runs `main` as `jaxgan.terminal` has it, which imports more than Python brings: what can't be encoded is
    replaced, and a stdout that nobody reads is no error; a full one is a line, and status 1."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    status: str | int | None = None
    try:
        try:
            main()
        except SystemExit as end:
            status = end.code
        if sys.stdout:
            sys.stdout.flush()
    except OSError as error:
        if not isinstance(error, BrokenPipeError):
            print(f"error: can't write to stdout: {error.strerror}", file=sys.stderr)
            status = 1
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # for what Python still holds
    sys.exit(status)


if __name__ == "__main__":
    run()
