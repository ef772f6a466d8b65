"""Pydantic compiles validators and serializers of its schemas: what is changed in a schema changes nothing in them."""

from __future__ import annotations

REMEMBERED = (
    "pydantic._internal._fields._general_metadata_cls",
    "pydantic._internal._known_annotated_metadata._get_at_to_constraint_map",
    "pydantic._internal._model_construction._deprecated_base_model_method_ids",
    "pydantic._internal._model_construction.default_ignored_types",
)
"""What pydantic makes once, of itself alone, with the first model."""

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

VALIDATOR = ".__pydantic_validator__"
COMPILES = (
    "pydantic_core._pydantic_core.SchemaValidator",
    "pydantic.plugin._schema_validator.PluggableSchemaValidator",
)
"""Where a model has what was compiled of its schema, and the types of that once it was; what stands there before differs."""
