"""The site's pages: what they say beyond docs/results.md is there too, and every public name is on one of them."""

import importlib.util
import re
import sys
from pathlib import Path

import pytest

import jaxgan

ROOT = Path(__file__).parent.parent.parent
DOCS = ROOT / "docs"
