"""How Sphinx builds the site; CONTRIBUTING.md has the command.

Everything that a reader needs is in the folder that comes out: equations are MathML, and no script, font or picture is
fetched from elsewhere.
"""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS / "_ext"), str(DOCS.parent)]

from jaxgan import __version__  # noqa: E402 - that of the checkout

project, author, copyright = "jaxgan", "The jaxgan authors", "The jaxgan authors, Apache-2.0"  # noqa: A001
version = release = __version__

extensions = [
    "myst_nb",
    "sphinx.ext.autodoc",
    "sphinx.ext.doctest",
    "sphinx.ext.viewcode",
    # ours, in _ext
    "docstrings",
    "experiment_pages",
    "mathml",
    "play",
    "public_names",
]
exclude_patterns = ["_build", "_ext", "play"]
suppress_warnings = ["config.cache"]  # a function among the settings is no news
smartquotes = False  # which would make one dash of --option

myst_enable_extensions = ["dollarmath"]
myst_heading_anchors = 3
nb_execution_mode = "cache"
nb_execution_raise_on_error = True
nb_execution_show_tb = True  # so that the build says which line of a cell it was
nb_execution_timeout = -1  # seconds: none, however busy the machine is

autodoc_inherit_docstrings = False  # of Linen's modules
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
python_maximum_signature_line_length = 100
doctest_global_setup = "import jax, jax.numpy as jnp, numpy as np"
doctest_test_doctest_blocks = "default"

html_theme = "sphinx_book_theme"
html_title = "jaxgan"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"
html_show_sourcelink = False
html_theme_options = {"show_navbar_depth": 1, "use_download_button": False, "home_page_in_toc": True}
