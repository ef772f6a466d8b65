"""Pydantic compiles validators and serializers of its schemas: what is changed in a schema changes nothing in them."""

from __future__ import annotations

COMPILED = frozenset(
    {
        ".core_schema",
        ".__pydantic_core_schema__",
        ".__pydantic_fields__",
        ".__pydantic_decorators__",
        ".field_info",
        "._type_adapter",
    }
)
"""Attributes that hold what something was compiled of."""
