"""Writes a run's generator as files that need no jaxgan: weights, programs, and a card that describes them.

    python -m scripts.export RUN --out FOLDER                          safetensors and StableHLO
    python -m scripts.export RUN --out FOLDER --format safetensors,stablehlo,onnx
    python -m scripts.export RUN --out FOLDER --to a                   one of the things that a run makes of pictures
    python -m scripts.export RUN --demo PAGE                           a page to play with it, in a browser

The folder gets `generator.safetensors`, the averaged weights, which `jaxgan.training.load_weights(FOLDER)` reads back;
`generator.stablehlo`, for `jax.export.deserialize` on CPUs, CUDA and TPUs; `generator.onnx`; `config.json`; and
`README.md`, the model card. Programs take any number of latents `[n, L]`, beside them of a conditional GAN labels
`[n]`, of an InfoGAN codes and of a StyleGAN a truncation, and give what networks give: pictures in [-1, 1], float32.
Programs that translate take pictures of the size that the run was trained on.

The page needs no network. Latents to drag, a seed, interpolation, classes, codes, truncation and a StyleGAN's
directions are computed in the browser by onnxruntime-web, whose files are copied from ./node_modules (npm install
onnxruntime-web). Any web server shows it, such as `python -m http.server -d PAGE`.
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from jaxgan.files import atomic_write
from jaxgan.nearest import perhaps
from jaxgan.terminal import say
from jaxgan.training import OpenRun
from jaxgan.training.cli.arguments import Positional
from jaxgan.training.cli.command_line import command_line
from jaxgan.training.cli.exits import plain_exits
from jaxgan.training.errors.usage import either, require, writing
from jaxgan.training.exporting.card import FILES, card, config
from jaxgan.training.exporting.generator import Generator, generator_of
from jaxgan.training.exporting.page import runtime_files, write_page
from jaxgan.training.exporting.programs import onnx_model, stablehlo
from jaxgan.training.exporting.weights import save_weights
from jaxgan.training.output.log import write_json
from scripts.checkpoint_options import MemberOptions, open_checkpoint
from scripts.translate import check_folder

PROGRAMS: dict[str, Callable[[Generator], bytes]] = {
    "stablehlo": stablehlo,
    "onnx": lambda generator: bytes(onnx_model(generator).SerializeToString()),
}


@dataclasses.dataclass(frozen=True, kw_only=True)
class Options(MemberOptions):
    run: Positional[Path]
    """A run directory."""
    out: Path | None = None
    """The folder for the files, which is made where it isn't there."""
    demo: Path | None = None
    """The folder for a page that draws in a browser, which is made where it isn't there."""
    format: str = "safetensors,stablehlo"
    """Which of safetensors, stablehlo and onnx, with commas between them."""
    to: str | None = None
    """What pictures become, of a run that makes several things of them."""
    licence: str = ""
    """The licence of the weights, for the card."""

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in self.formats:
            require(self, "format", name in FILES, f"of {either(FILES)}", perhaps(name, FILES))
        require(self, "out", bool(self.out or self.demo), "a folder, unless --demo is one")
        for folder in filter(None, (self.out, self.demo)):
            check_folder(folder)
        if self.demo:
            runtime_files()

    @property
    def formats(self) -> list[str]:
        return self.format.split(",")


def export(options: Options) -> None:
    """Writes what the options name."""
    run = open_checkpoint(options.run, options)
    weights = run.named_weights(options.weights)
    if options.out:
        write_files(options.out, run, generator_of(run, weights, options.to), weights, options)
    if options.demo:
        played = generator_of(run, weights, options.to, movable=True)
        program, title = PROGRAMS["onnx"](played), f"{run.data.name}, drawn by {run.directory.name}"
        with writing(options.demo):
            options.demo.mkdir(parents=True, exist_ok=True)
            write_page(options.demo, run, played, program, title, weights=weights)
        say(f"{options.demo / 'index.html'}: python -m http.server -d {options.demo}")


def write_files(out: Path, run: OpenRun, generator: Generator, weights: str, options: Options) -> None:
    """Writes weights, programs, `config.json` and the card."""
    programs = {name: PROGRAMS[name](generator) for name in options.formats if name in PROGRAMS}
    about = config(run, generator, weights, options.formats)
    with writing(out):
        out.mkdir(parents=True, exist_ok=True)
        if "safetensors" in options.formats:
            save_weights(out / FILES["safetensors"], generator.variables, about)
        for name, program in programs.items():
            with atomic_write(out / FILES[name]) as temporary:
                temporary.write_bytes(program)
        write_json(out / "config.json", about)
        with atomic_write(out / "README.md") as temporary:
            temporary.write_text(card(run, about, options.licence), encoding="utf-8")
    for path in (out / FILES[name] for name in options.formats):
        say(f"{path}, {path.stat().st_size / 1e6:.1f} MB")
    say(f"described in {out / 'README.md'}")


def main() -> None:
    with plain_exits():
        export(command_line(Options))


if __name__ == "__main__":
    main()
