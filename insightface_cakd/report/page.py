"""Pages: one template, one style sheet, and no file besides."""

import base64
import re
from collections.abc import Iterable, Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from insightface_cakd import __version__
from insightface_cakd.report.colours import DARK, LIGHT, Colours
from insightface_cakd.report.plots import drawn
from insightface_cakd.report.result import Drawing
from insightface_cakd.report.tables import Row, columns
from insightface_cakd.runtime.devices import describe_machine

TEMPLATES = Environment(
    loader=PackageLoader("insightface_cakd.report"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
TEMPLATES.filters["unbroken"] = lambda text: re.sub(r"(?<=\d) %", "\N{NO-BREAK SPACE}%", text)
# How a cell with a number begins: with it, a sign, a bracket, or what stands for none.
NUMBER = re.compile(r"[-+<\[]?[\d.]|-$|$")


def page(template: str, names: Iterable[str] = (), **content: Any) -> str:
    """Return a page of HTML.

    Args:
        template: in `templates/`; it extends `base.html`, which needs `title` and `verdict`.
        names: models in the order in which they get colours; others follow as they are drawn.
        content: of the template.
    """
    colours, prefixes = Colours(names), iter(range(1_000_000))

    def svg(drawing: Drawing) -> Markup:
        # Ids of a page must differ.
        return Markup(drawn(drawing, colours, f"p{next(prefixes)}"))

    tools = {"svg": svg, "columns": columns, "as_text": _as_text, "data_uri": _data_uri, "light": LIGHT, "dark": DARK}
    footer = {"version": __version__, "machine": describe_machine()}
    return TEMPLATES.get_template(template).render(**tools, **footer, **content)


def _as_text(rows: Sequence[Row], key: str) -> Markup:
    """Return the class of cells that are words, which stand on the left."""
    words = not all(NUMBER.match(row.get(key, "")) for row in rows)
    return Markup(' class="text"') if words else Markup()


def _data_uri(image: bytes, kind: str) -> str:
    return f"data:image/{kind};base64,{base64.b64encode(image).decode('ascii')}"
