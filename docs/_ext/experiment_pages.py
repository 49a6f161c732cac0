"""Pages that are made of what is there already: one for each experiment (its lab note, options, pictures and results),
one for the options that all have, and the gallery. They are written when a build begins, and not kept in git."""

import dataclasses
import importlib
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from experiments.__main__ import Experiment, experiments
from jaxgan.training import Options
from jaxgan.training.cli.arguments import Argument, arguments_of
from jaxgan.training.errors.usage import shown

if TYPE_CHECKING:
    from sphinx.application import Sphinx

DOCS = Path(__file__).parent.parent
CODE = re.compile(r"^(```(?s:.*?)^```|(?: {4}.*\n?)+)", re.MULTILINE)


class Picture(NamedTuple):
    """A picture of the results: its file, relative to docs/, its text, and the words below it."""

    file: str
    alt: str
    caption: str


class Section(NamedTuple):
    """A section of docs/results.md without those below it: heading, the address of its heading, and text."""

    heading: str
    slug: str
    text: str

    def names(self, known: Iterable[str]) -> set[str]:
        """The experiments that it names in its heading, as commands, or at the head of a table's row."""
        return {
            name
            for name in known
            if f"`{name}`" in self.heading
            or re.search(rf"experiments\.{name}\b|^\| `{name}\b", self.text, re.MULTILINE)
        }

    @property
    def pictures(self) -> list[Picture]:
        found = re.finditer(r"^(!\[.*\)\n)(?:\n\*([^*]+)\*\n)?", self.text + "\n", re.MULTILINE)
        return [
            Picture(file, alt, " ".join((match[2] or "").split()))
            for match in found
            for alt, file in re.findall(r"!\[([^\]]*)\]\(([^)]+)\)", match[1])
        ]


def sections(results: str) -> list[Section]:
    """The sections of a page in Markdown, with headings' addresses as MyST and GitHub make them."""
    parts = re.split(r"^#{2,3} (.+)\n", results, flags=re.MULTILINE)[1:]
    found: list[Section] = []
    for heading, text in zip(parts[::2], parts[1::2], strict=True):
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        same = sum(re.fullmatch(rf"{re.escape(slug)}(-\d+)?", each.slug) is not None for each in found)
        found.append(Section(heading, f"{slug}-{same}" if same else slug, text.strip("\n")))
    return found


def gallery(found: Sequence[Section], known: Sequence[str]) -> str:
    """The page of all pictures in the results, each with the experiments that drew it and the section of it."""
    parts = [
        "# Gallery",
        "Pictures that runs left, none selected unless it says so. [Play with a generator](guides/play.md) instead.",
    ]
    for section in found:
        for picture in section.pictures:
            drawn = [f"[`{name}`](experiments/{name}.md)" for name in _drawers(picture, section, known)]
            where = ", ".join([*drawn, f"[{section.heading}](results.md#{section.slug})"])
            parts.append(_figure(picture, picture.file, where))
    return "\n\n".join(parts) + "\n"


def _figure(picture: Picture, address: str, where: str = "") -> str:
    words = " ".join(filter(None, [f"{picture.alt}.", picture.caption, where]))
    return f"```{{figure}} {address}\n:alt: {picture.alt}\n\n{words}\n```"


def _drawers(picture: Picture, section: Section, known: Sequence[str]) -> list[str]:
    """The experiments that a picture is of: those that its own words name, or else all of its section."""
    said = [name for name in known if f"`{name}`" in f"{picture.alt} {picture.caption}"]
    beside = [name for name in known if Path(picture.file).stem == name]
    return said or beside or sorted(section.names(known))


def page(experiment: Experiment, found: Sequence[Section], known: Sequence[str]) -> str:
    """An experiment's page."""
    name = experiment.name
    about = [section for section in found if name in section.names(known)]
    own = [section for section in about if section.names(known) == {name}]
    shown_already = {picture for section in own for picture in section.pictures}
    parts = [f"# `{name}`", note(experiment.note, known), "## Options", *_options(name)]
    figures = [
        _figure(picture, f"../{picture.file}")
        for section in found
        for picture in section.pictures
        if picture not in shown_already and name in _drawers(picture, section, known)
    ]
    if figures:
        parts += ["## Pictures", *figures]
    parts.append("## Results")
    if not about:
        parts.append("None yet in [the results](../results.md).")
    for section in own:
        parts += [
            f"### {section.heading}",
            _moved(section.text),
            f"*From [the results](../results.md#{section.slug}).*",
        ]
    for section in about:
        if section not in own:
            parts += [f"### Among others: {section.heading}", *_rows(section.text, name)]
            parts.append(f"*From [the results](../results.md#{section.slug}), which say how it was run.*")
    return "\n\n".join(parts) + "\n"


def note(text: str, known: Sequence[str]) -> str:
    """A lab note as Markdown: it nearly is, but for addresses and names that become links."""

    def linked(prose: str) -> str:
        prose = re.sub(r"(https?://[^\s,;)]*[^\s,;).])", r"<\1>", prose)
        prose = re.sub(r"arXiv (\d{4}\.\d{4,5})", r"[arXiv \1](https://arxiv.org/abs/\1)", prose)
        prose = re.sub(r"docs/results\.md", "[the results](../results.md)", prose)
        return re.sub(r"`?experiments\.(\w+)`?", lambda m: f"[`{m[1]}`]({m[1]}.md)" if m[1] in known else m[0], prose)

    return "".join(part if place % 2 else linked(part) for place, part in enumerate(CODE.split(text)))


def _moved(text: str) -> str:
    """A part of the results, in a page one folder below."""
    return re.sub(r"\]\((?!https?:|#)([^)]+)\)", r"](../\1)", text).replace("](#", "](../results.md#")


def _rows(text: str, name: str) -> list[str]:
    """The rows of tables whose first cell names an experiment, with the table's head and its row of real examples."""
    tables = re.findall(r"(?:^\|.*\n?)+", text, re.MULTILINE)
    kept = []
    for table in tables:
        head, rule, *rows = table.splitlines()
        own = [row for row in rows if re.match(rf"\| `{name}\b", row)]
        if own:
            kept.append("\n".join([head, rule, *own, *(row for row in rows if row.startswith("| real"))]))
    return kept


def _options(name: str) -> list[str]:
    """An experiment's own options, the defaults that differ, and its presets."""
    options = importlib.import_module(f"experiments.{name}").Options
    common = {argument.name: argument for argument in arguments_of(Options)}
    arguments = arguments_of(options)
    own = [argument for argument in arguments if argument.name not in common]
    parts = [table(own)] if own else []
    other = [
        f"`--{each.flag} {shown(each.default)}`"
        for each in arguments
        if each.name in common and each.default != common[each.name].default
    ]
    if other:
        parts.append(f"Defaults other than [those that all experiments have](options.md): {', '.join(other)}.")
    for preset, values in options.PRESETS.items():
        flags = {argument.name: argument.flag for argument in arguments}
        changed = ", ".join(f"`--{flags[key]} {shown(value)}`" for key, value in values.items())
        parts.append(f"`--preset {preset}`: {changed}.")
    return parts


def table(arguments: Iterable[Argument]) -> str:
    """Options as a table."""
    rows = ["| option | default | |", "|---|---|---|"]
    for argument in arguments:
        default = "" if argument.default in (None, (), dataclasses.MISSING) else f"`{shown(argument.default)}`"
        rows.append(f"| `--{argument.flag}` | {default} | {_cell(argument.about)} |")
    return "\n".join(rows)


def _cell(text: str) -> str:
    return re.sub(r"([|*<\[])", r"\\\1", " ".join(text.split()))


def options_page() -> str:
    """The options that every experiment has, by groups."""
    groups: dict[str, list[Argument]] = {}
    for argument in arguments_of(Options):
        groups.setdefault(argument.group, []).append(argument)
    parts = ["# Options of every experiment", "An experiment's page has its own, and the defaults that it changes."]
    for group, arguments in groups.items():
        parts += [f"## {group[:1].upper()}{group[1:]}", table(arguments)]
    return "\n\n".join(parts) + "\n"


def index(listed: Sequence[Experiment]) -> str:
    """The list of experiments."""
    rows = [f"| [`{each.name}`]({each.name}.md) | {each.first} |" for each in listed]
    names = "\n".join(["options", *(each.name for each in listed)])
    return (
        "# Experiments\n\nOne file each in `experiments/`; the first lines of it are its lab note. "
        "`python -m experiments` lists them too.\n\n"
        + "\n".join(["| experiment | is |", "|---|---|", *rows])
        + f"\n\n```{{toctree}}\n:hidden:\n\n{names}\n```\n"
    )


def pages() -> dict[str, str]:
    """All pages by their paths below docs/."""
    listed = experiments()
    known = [experiment.name for experiment in listed]
    found = sections((DOCS / "results.md").read_text(encoding="utf-8"))
    return {
        "gallery.md": gallery(found, known),
        "experiments/index.md": index(listed),
        "experiments/options.md": options_page(),
    } | {f"experiments/{each.name}.md": page(each, found, known) for each in listed}


def write(texts: Mapping[str, str]) -> None:
    """Writes what has changed, so that Sphinx reads no page again in vain, and removes pages of what is gone."""
    folder = DOCS / "experiments"
    folder.mkdir(exist_ok=True)
    for path in folder.glob("*.md"):
        if f"experiments/{path.name}" not in texts:
            path.unlink()
    for name, text in texts.items():
        path = DOCS / name
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")


def _begin(app: "Sphinx") -> None:
    write(pages())


def setup(app: "Sphinx") -> dict[str, bool]:
    app.connect("builder-inited", _begin)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
