"""What a person, a schedule or a service asks for, checked before there is a run."""

from collections.abc import Mapping
from typing import Any, ClassVar, Self

from pydantic import BaseModel, ConfigDict, ValidationError

from keydistill.errors import InputError


class Order(BaseModel):
    """The options of a command; what is None is left to the settings."""

    model_config = ConfigDict(extra="forbid", frozen=True)
    kind: ClassVar[str]

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Self:
        """Read an order.

        Raises:
            InputError: A value is malformed, missing, or has a name that there is not.
        """
        try:
            return cls(**values)
        except ValidationError as error:
            first = error.errors(include_url=False, include_input=False, include_context=False)[0]
            name = ".".join(str(part) for part in first["loc"])
            raise InputError(f"{cls.kind}, {name!r}: {first['msg']}; it takes {', '.join(cls.model_fields)}") from None
