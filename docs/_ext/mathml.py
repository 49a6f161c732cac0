"""Equations as MathML, by docutils' own converter: every browser draws it, without a script or a network."""

from docutils import nodes
from docutils.utils.math import MathError
from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.application import Sphinx
from sphinx.errors import ExtensionError
from sphinx.writers.html5 import HTML5Translator


def _written(translator: HTML5Translator, node: nodes.Element, block: bool) -> None:
    text = node.astext()
    try:
        translator.body.append(tex2mathml(text, as_block=block))
    except MathError as error:
        raise ExtensionError(f"{node.source}:{node.line}: {text!r} is no equation that MathML has: {error}") from error
    raise nodes.SkipNode


def _inline(translator: HTML5Translator, node: nodes.math) -> None:
    _written(translator, node, block=False)


def _block(translator: HTML5Translator, node: nodes.math_block) -> None:
    _written(translator, node, block=True)


def setup(app: Sphinx) -> dict[str, bool]:
    app.add_html_math_renderer("mathml", (_inline, None), (_block, None))
    return {"parallel_read_safe": True, "parallel_write_safe": True}
