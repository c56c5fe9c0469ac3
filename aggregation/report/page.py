"""The HTML file of a payload: one file, which asks for nothing else.

Names from outside enter in two ways only: as text that the template escapes, and as JSON without any character that
could end it. Scripts and styles are allowed by their digests, and nothing else is: no request can leave the page.
"""

import base64
import hashlib
import json
from functools import cache
from importlib.resources import files
from typing import Any

from jinja2 import Environment, StrictUndefined, Template
from markupsafe import Markup

from aggregation.report.script import joined

_HOLDER = files("aggregation.report")
#: What could end a script element, begin a comment in it, or break a line of JavaScript.
_UNSAFE = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026", "\u2028": "\\u2028", "\u2029": "\\u2029"}


def page(payload: dict[str, Any]) -> str:
    """The page that shows a payload (see payload.py)."""
    style, script = _text("page.css"), joined("page.js", _text)
    policy = (
        f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        f"base-uri 'none'; form-action 'none'"
    )
    return _template().render(
        title=payload["title"],
        about=payload["about"],
        footer=payload["footer"],
        version=payload["version"],
        policy=Markup(policy),
        style=Markup(style),
        script=Markup(script),
        payload=Markup(json_text(payload)),
    )


def json_text(value: object) -> str:
    """JSON that may stand in a script element, whatever it holds.

    Raises:
        ValueError: it holds NaN or an infinity.
    """
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    for character, escape in _UNSAFE.items():
        text = text.replace(character, escape)
    return text


def _digest(text: str) -> str:
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()


@cache
def _text(name: str) -> str:
    return (_HOLDER / name).read_text(encoding="utf-8")


@cache
def _template() -> Template:
    environment = Environment(autoescape=True, undefined=StrictUndefined, keep_trailing_newline=True)
    return environment.from_string(_text("page.html.j2"))
