"""Joins the page's JavaScript modules into one script: a page from a file may not load modules from other files."""

import re
from collections.abc import Callable

_IMPORT = re.compile(r'^import \{[^}]*\} from "\./(?P<name>[a-z_]+\.js)";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?=(async )?(function|class|const) )", re.MULTILINE)


def joined(entry: str, read: Callable[[str], str]) -> str:
    """One script of a module and of everything that it imports, each once, what is imported first.

    The modules share one scope, so that no two may declare the same name at their top.

    Args:
        entry: Name of the module to begin with.
        read: The text of a module by its name.
    """
    parts: dict[str, str] = {}

    def add(name: str) -> None:
        text = read(name)
        for match in _IMPORT.finditer(text):
            if match["name"] not in parts:
                add(match["name"])
        parts[name] = _EXPORT.sub("", _IMPORT.sub("", text)).strip()

    add(entry)
    body = "\n\n".join(f"// {name}\n{text}" for name, text in parts.items())
    return f'(() => {{\n"use strict";\n\n{body}\n}})();\n'
