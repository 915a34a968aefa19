"""Reads hyperparameters where they are declared: fields, docstrings and sources."""

import ast
import dataclasses
import inspect
import textwrap
from typing import Any, NamedTuple


class Field(NamedTuple):
    """One hyperparameter of an algorithm."""

    name: str
    default: Any
    description: str
    """What it is, with its unit or range."""
    source: str
    """Where the value comes from: digest, authors' code, another source, or 'ours: reason'."""


def fields(configuration: type) -> list[Field]:
    """Fields of a configuration dataclass in order, from docstrings `What. Source: where.`

    A field without docstring or source has an empty string there (a test fails on it).
    """
    docstrings: dict[str, str] = {}
    for base in reversed(configuration.__mro__):
        if dataclasses.is_dataclass(base):
            docstrings |= _attribute_docstrings(base)
    found = []
    for field in dataclasses.fields(configuration):
        text = " ".join(docstrings.get(field.name, "").split())
        description, _, source = text.partition(" Source: ")
        found.append(Field(field.name, field.default, description, source.rstrip(".")))
    return found


def _attribute_docstrings(cls: type) -> dict[str, str]:
    """String literals that stand right after an annotated attribute."""
    body = ast.parse(textwrap.dedent(inspect.getsource(cls))).body[0].body
    return {
        statement.target.id: following.value.value
        for statement, following in zip(body, body[1:], strict=False)
        if isinstance(statement, ast.AnnAssign)
        and isinstance(following, ast.Expr)
        and isinstance(following.value, ast.Constant)
        and isinstance(following.value.value, str)
    }
