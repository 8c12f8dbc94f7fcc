"""Parts that all pages share: templates, the style sheet, the script and its policy."""

import base64
import functools
import hashlib
import importlib.resources

import jinja2
from markupsafe import Markup

from jtransfer.report.pages.formats import number, printable


def document(template: str, **values: object) -> str:
    """Returns an HTML page with the style sheet and the script inside.

    Args:
      template: name of a file in `templates`.
      **values: the variables of the template; texts among them are escaped.

    Returns:
      The page. A policy in it forbids all scripts but ours, and all other files.
    """
    files = importlib.resources.files(__package__)
    style = files.joinpath("page.css").read_text("utf-8")
    script = files.joinpath("page.js").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    page = _templates().get_template(template)
    shared = {
        "style": Markup(style),
        "script": Markup(script),
        "script_digest": digest,
    }
    return printable(page.render(**shared, **values))


def fragment(template: str, **values: object) -> str:
    """Returns a part of a page, without style sheet and script, for a notebook.

    Args:
      template: name of a file in `templates`.
      **values: the variables of the template; texts among them are escaped.
    """
    return printable(_templates().get_template(template).render(**values))


@functools.cache
def _templates() -> jinja2.Environment:
    templates = jinja2.Environment(
        loader=jinja2.PackageLoader(__package__),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    templates.filters["number"] = number
    return templates
