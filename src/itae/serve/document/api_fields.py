"""Schemas of the API as lines of a table: what each field is called, is, and means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

_KINDS = {
    "string": "text",
    "integer": "whole number",
    "number": "number",
    "boolean": "true or false",
    "object": "object",
    "null": "null",
}


@dataclass(frozen=True)
class Line:
    """One field.

    Parameters
    ----------
    name
        With those that it lies in.
    kind
        What it is, in words.
    note
        Whether it has to be given, or what it is otherwise.
    says
        What it means.
    """

    name: str
    kind: str
    note: str
    says: str


Schema = dict[str, Any]


def lines(schema: Schema, parts: dict[str, Schema], asked: bool, within: str = "") -> Iterator[Line]:
    """Yield the fields of an object, those of objects in it behind each.

    Parameters
    ----------
    schema, parts
        The object's, and all schemas by their names.
    asked
        Whether it is sent, so that what needn't be there has to be told.
    within
        What comes before the names.
    """
    schema = found(schema, parts)
    for name, field in schema.get("properties", {}).items():
        needed = name in schema.get("required", ())
        yield Line(f"{within}{name}", kind_of(field, parts), _note(field, needed) if asked else "", _says(field, parts))
        for inner, after in _inner(field, parts, ""):
            yield from lines(inner, parts, asked, f"{within}{name}{after}.")


def found(schema: Schema, parts: dict[str, Schema]) -> Schema:
    """Return a schema in place of a reference to it."""
    reference = schema.get("$ref")
    return schema if reference is None else parts[reference.rpartition("/")[2]]


def kind_of(schema: Schema, parts: dict[str, Schema]) -> str:
    """Return what a value is, in words."""
    schema = found(schema, parts)
    for names in ("anyOf", "oneOf"):
        if names in schema:
            return " or ".join(dict.fromkeys(kind_of(one, parts) for one in schema[names]))
    if "const" in schema:
        return f'"{schema["const"]}"'
    if "enum" in schema:
        return " or ".join(f'"{one}"' if isinstance(one, str) else str(one) for one in schema["enum"])
    if schema.get("type") == "array":
        return f"list of {kind_of(schema.get('items', {}), parts)}"
    if isinstance(values := schema.get("additionalProperties"), dict) and values:
        return f"object of {kind_of(values, parts)}"
    return _KINDS.get(str(schema.get("type")), "anything") + _bounds(schema)


def _bounds(schema: Schema) -> str:
    low, high = schema.get("minimum"), schema.get("maximum")
    low, high = (None if one is None else f"{one:,.15g}" for one in (low, high))
    if low is not None and high is not None:
        return f", {low} to {high}"
    return f", at least {low}" if low is not None else f", at most {high}" if high is not None else ""


def _note(field: Schema, needed: bool) -> str:
    if needed:
        return "needed"
    return _default(field.get("default"))


def _default(value: Any) -> str:
    if value is None or value == "":
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "[]" if value == [] else str(value)


def parameter(told: Schema, parts: dict[str, Schema]) -> Line:
    """Return a parameter of a path or of what comes behind a question mark."""
    schema = told.get("schema", {})
    note = "needed" if told.get("required") else _default(schema.get("default"))
    return Line(told["name"], kind_of(schema, parts), note, told.get("description", ""))


def _says(field: Schema, parts: dict[str, Schema]) -> str:
    """Return what a field is said to mean, or else what it is said to be."""
    some = (found(one, parts) for one in (field, *field.get("anyOf", ()), *field.get("oneOf", ())))
    return next((str(one["description"]) for one in some if one.get("description")), "")


def _inner(schema: Schema, parts: dict[str, Schema], after: str) -> Iterator[tuple[Schema, str]]:
    """Yield the objects with fields of their own that a value is or holds, and how it is written where they lie."""
    schema = found(schema, parts)
    if "properties" in schema:
        yield schema, after
    if "items" in schema:
        yield from _inner(schema["items"], parts, f"{after}[]")
    for one in (*schema.get("anyOf", ()), *schema.get("oneOf", ())):
        yield from _inner(one, parts, after)
