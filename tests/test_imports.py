"""The order of the parts, read from sources: which module may import which, what `import jaxgan` may pull in."""

import ast
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parent.parent
SOURCES = sorted((ROOT / "jaxgan").rglob("*.py"))
EVERY_SOURCE = [
    path for folder in ("jaxgan", "experiments", "scripts") for path in sorted((ROOT / folder).rglob("*.py"))
]

# What each part of jaxgan (a module, or a package with all its modules) may import of the others, anywhere in its text.
LEAVES = {"losses", "penalties", "augment", "degrade", "networks", "ema"}
# What an update is made of, from below; on it the plain GAN, from `terms` on.
ARROWS = {
    "losses": set(),
    "penalties": {"losses"},
    "augment": set(),
    "balance": set(),
    "degrade": {"augment"},
    "networks": set(),
    "ema": set(),
    "state": set(),
    "players": {"state"},
    "schedules": {"state"},
    "devices": set(),
    "draw": {"devices", "losses", "state"},
    "nets": {"draw", "state"},
    "standing": {"state"},
    "iteration": {"devices", "draw", "ema", "schedules", "standing", "state"},
    "accumulation": {"draw", "iteration", "nets", "state"},
    "update": {"accumulation", "devices", "draw", "iteration", "losses", "nets", "schedules", "state"},
    "joint": {"iteration", "nets", "state", "update"},
    "history": {"draw"},
    "styles": {"draw"},
    "terms": {"losses", "nets", "penalties", "state", "update"},
    "samplers": {"terms"},
    "warp": {"degrade"},
    "ada": {"augment", "losses", "state", "terms", "update", "warp"},
    "diffaugment": {"ada", "augment", "state", "terms"},
    "adversarial": {"draw", "iteration", "joint", "nets", "samplers", "schedules", "state", "terms", "update"},
    "lookahead": {"iteration", "state"},
    "phases": {"iteration", "state"},
    "ensemble": set(),
    "parallel": {"ensemble", "state"},
    "projection": set(),
    "freezing": {"state"},
    "transfer": {"state"},
    "pruning": {"state"},
    "rejection": set(),
}
CORE = set(ARROWS)
ARROWS |= {
    "files": set(),
    "nearest": set(),
    "printable": set(),
    "terminal": {"printable"},
    "versions": {"jaxgan"},
    "media": set(),
    "data": LEAVES | {"files", "media", "nearest", "printable", "terminal"},
    "evaluation": LEAVES | {"data", "files", "media", "players", "printable", "versions"},
    "training": CORE
    | {"data", "evaluation", "files", "media", "nearest", "printable", "terminal", "versions", "jaxgan"},
    "jaxgan": CORE,  # jaxgan/__init__.py, the public surface of the core
}
# Within the host's packages, what each of its rooms (a folder, or a module beside them) may import of the others.
ROOMS = {
    "data": {
        "errors": set(),
        "cache": set(),
        "npz": set(),
        "order": set(),
        "sets": {"errors"},
        "sources": {"cache", "errors", "sets"},
        "transform": {"cache", "errors", "sets", "sources"},
        "stacked": {"errors", "sets", "sources", "transform"},
        "slanted": {"sets", "sources", "transform"},
        "tiles": {"cache", "errors", "sources", "transform"},
        "names": {"errors", "npz", "sets", "slanted", "sources", "stacked"},
        "shared_memory": set(),
        "stream": {"errors", "order", "shared_memory", "sources", "transform"},
    },
    "evaluation": {
        "diversity": set(),
        "frechet": set(),
        "modes": set(),
        "neighbours": set(),
        "path_length": set(),
        "similarity": set(),
        "sliced": set(),
        "inception_score": {"frechet"},
        "kernel": {"frechet"},
        "classes": {"neighbours"},
        "vectors": {"frechet", "sliced"},
        "features": {"frechet", "similarity"},
        "pairs": {"features", "similarity"},
        "score": {"features", "pairs"},
        "scores": {"classes", "diversity", "features", "frechet", "inception_score", "kernel", "modes", "neighbours"}
        | {"pairs", "score", "sliced", "vectors"},
    },
    "training": {
        "errors": set(),
        "cli": {"errors"},
        "distributed": {"errors"},
        "options": {"cli", "errors"},
        "recipe": {"errors", "options"},
        "output": {"recipe"},
        "exploring": {"output", "recipe"},
        "compiled": {"distributed", "errors", "options", "recipe"},
        "checkpoints": {"distributed", "errors"},
        "run": {"checkpoints", "distributed", "errors", "exploring", "options", "output", "recipe"},
        "scoring": {"checkpoints", "compiled", "distributed", "errors", "exploring", "options", "output", "recipe"},
        "reporting": {"errors", "exploring", "options", "output", "run", "scoring"},
        "exporting": {"errors", "exploring", "recipe", "run", "scoring"},
        "setup": {"compiled", "distributed", "errors", "options", "output", "recipe", "run", "scoring"},
        "loop": {"checkpoints", "cli", "compiled", "distributed", "errors", "options", "output", "recipe", "run"}
        | {"reporting", "scoring", "setup"},
    },
}
LIBRARIES_OF_THE_CORE = {"jax", "flax", "optax", "numpy"}
HEAVY = [
    *("tensorflow", "tensorflow_datasets", "orbax", "PIL", "matplotlib", "sklearn", "tqdm", "tensorboardX"),
    *(
        "grain",
        "torch",
        "pandas",
        "array_record",
        "jaxgan.data",
        "jaxgan.evaluation",
        "jaxgan.media",
        "jaxgan.training",
    ),
]


def names(paths):
    return [str(path.relative_to(ROOT)) for path in paths]


def part(path):
    """The part of jaxgan that a source belongs to; its root's own name is that of the package."""
    first = pathlib.Path(path).relative_to(ROOT / "jaxgan").parts[0]
    return "jaxgan" if first == "__init__.py" else first.removesuffix(".py")


def imported(tree):
    """Dotted names of all that a source imports; `from a import b` counts as a.b, whether b is a module or not."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"line {node.lineno}: relative import; write it out from the package's name"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def parts_imported(tree):
    known = {part(path) for path in SOURCES} - {"jaxgan"}
    for name in imported(tree):
        root, *rest = name.split(".")
        if root == "jaxgan":
            yield rest[0] if rest and rest[0] in known else "jaxgan"


def faults(tree):
    """What the pure core must not do: print, and keep or draw from a global state."""
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("print", "open", "input")
        ):
            yield f"line {node.lineno}: {node.func.id}(...)"
        elif isinstance(node, ast.Global):
            yield f"line {node.lineno}: global"
        elif isinstance(node, ast.Attribute) and ast.unparse(node) in ("np.random", "numpy.random"):
            yield f"line {node.lineno}: NumPy's global generator"
    for name in imported(tree):
        if name.split(".")[0] == "random" or name.startswith("numpy.random"):
            yield f"import of {name}"


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_imports_never_point_back(path):
    assert part(path) in ARROWS, (
        f"{path.relative_to(ROOT)} is new: say in ARROWS of tests/test_imports.py what jaxgan.{part(path)} may import"
    )
    wrong = set(parts_imported(parse(path))) - ARROWS[part(path)] - {part(path)}
    assert not wrong, f"jaxgan.{part(path)} must not import {sorted(wrong)}"


IN_ROOMS = [
    path for path in SOURCES if part(path) in ROOMS and path.parent.name + path.name != part(path) + "__init__.py"
]


@pytest.mark.parametrize("path", IN_ROOMS, ids=names(IN_ROOMS))
def test_imports_between_rooms_never_point_back(path):
    package = part(path)
    room = path.relative_to(ROOT / "jaxgan" / package).parts[0].removesuffix(".py")
    assert room in ROOMS[package], f"{path.relative_to(ROOT)} is new: say in ROOMS what {package}.{room} may import"
    dotted = (name.split(".") for name in imported(parse(path)))
    theirs = {name[2] for name in dotted if name[:2] == ["jaxgan", package] and len(name) > 2}
    wrong = theirs - ROOMS[package][room] - {room}
    assert not wrong, f"jaxgan.{package}.{room} must not import {sorted(wrong)}"


@pytest.mark.parametrize("package", ROOMS)
def test_rooms_are_floors(package):
    """Each may import only what stands above it in ROOMS: no circles."""
    below = set()
    for room, may in ROOMS[package].items():
        assert may <= below, f"{package}.{room} would import {sorted(may - below)}, which stand below it"
        below.add(room)


@pytest.mark.parametrize("path", SOURCES, ids=names(SOURCES))
def test_the_library_knows_nothing_of_what_sits_on_it(path):
    wrong = {
        name for name in imported(parse(path)) if name.split(".")[0] in ("experiments", "scripts", "tests", "conftest")
    }
    assert not wrong


CORE_SOURCES = [path for path in SOURCES if part(path) in CORE | {"jaxgan"}]


@pytest.mark.parametrize("path", CORE_SOURCES, ids=names(CORE_SOURCES))
def test_the_core_needs_four_libraries_and_has_no_side_effects(path):
    tree = parse(path)
    roots = {name.split(".")[0] for name in imported(tree)}
    foreign = roots - LIBRARIES_OF_THE_CORE - set(sys.stdlib_module_names) - {"jaxgan"}
    assert not foreign, f"the pure core must not import {sorted(foreign)}"
    assert not list(faults(tree))


def test_importing_jaxgan_pulls_in_nothing_heavy():
    code = f"import sys, jaxgan; print(*(name for name in {HEAVY} if name in sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == []


def test_no_function_is_longer_than_a_screen():
    """80 lines, its docstring among them; the linter bounds its statements and branches."""
    long = [
        f"{path.relative_to(ROOT)}: {node.name}"
        for path in EVERY_SOURCE
        for node in ast.walk(parse(path))
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.end_lineno - node.lineno >= 80
    ]
    assert not long


def test_no_source_is_named_after_nothing():
    nameless = {"util", "utils", "common", "helper", "helpers"}
    wrong = [
        name
        for path, name in zip(EVERY_SOURCE, names(EVERY_SOURCE), strict=True)
        if nameless & {path.stem, *path.relative_to(ROOT).parts}
    ]
    assert not wrong, f"name them after what they do: {wrong}"


@pytest.mark.parametrize(
    "source",
    [
        "print(1)",
        "import random",
        "from numpy import random",
        "import numpy as np\nnp.random.normal()",
        "def f():\n  global x",
    ],
)
def test_the_reader_sees_faults(source):
    assert list(faults(ast.parse(source)))


@pytest.mark.parametrize(
    "source",
    [
        "import jaxgan.iteration",
        "from jaxgan import iteration",
        "from jaxgan.iteration import repeat",
        "def f():\n  import jaxgan.iteration as s",
    ],
)
def test_the_reader_sees_imports_however_they_are_written(source):
    assert set(parts_imported(ast.parse(source))) == {"iteration"}
