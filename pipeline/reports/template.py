"""HTML from the templates beside this module; every value is escaped, and none may be missing."""

from pathlib import Path

import jinja2

from pipeline import tables

_ENVIRONMENT = jinja2.Environment(
    loader=jinja2.FileSystemLoader(Path(__file__).parent),
    autoescape=True,
    undefined=jinja2.StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)


def write_html(template: str, path: Path, **values: object) -> None:
    """Fill the template of this name and write the page, whole or not at all."""
    tables.write_text(_ENVIRONMENT.get_template(template).render(values), path)
