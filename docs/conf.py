"""The site made of these pages: `make docs`."""

import inspect
import re
from typing import Any

import training
from common.extras import project_version

PUBLIC = {name: getattr(training, name) for name in training.__all__}
CLASSES = [name for name, value in PUBLIC.items() if inspect.isclass(value)]
FUNCTIONS = [name for name in PUBLIC if name not in CLASSES]

project = "Controlled noise"
release = project_version().rpartition(" ")[2]
copyright = "The authors of Controlled noise. Apache-2.0"
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build"]
html_theme = "furo"
html_title = f"Controlled noise {release}"
html_static_path: list[str] = []
myst_heading_anchors = 4
# Docstrings are plain text in which `name` is code.
default_role = "code"
autodoc_member_order = "bysource"
autodoc_typehints = "description"
nitpicky = False


def setup(app: Any) -> None:
    """Add what only the site needs, so that the pages stay plain Markdown."""
    app.connect("source-read", _add_navigation)


def _add_navigation(_app: Any, page: str, source: list[str]) -> None:
    """Turn the sections of the index into the site's navigation, and add the docstrings to the Python page."""
    if page == "index":
        for title, links in re.findall(r"^\*\*(.+)\*\*\n\n((?:(?:- |  ).*\n)+)", source[0], re.MULTILINE):
            pages = "\n".join(re.findall(r"\]\(([\w/-]+)\.md\)", links))
            source[0] += f"\n```{{toctree}}\n:hidden:\n:caption: {title}\n\n{pages}\n```\n"
    elif page == "reference/python":
        members = "\n".join(f".. autoclass:: training.{name}\n   :members:\n" for name in CLASSES)
        members += "\n".join(f".. autofunction:: training.{name}\n" for name in FUNCTIONS)
        source[0] += f"\n## Docstrings\n\n```{{eval-rst}}\n{members}\n```\n"
