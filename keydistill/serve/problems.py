"""Everything that the service answers in place of a result: problem details by RFC 9457, from one table."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import ValidationError
from pydantic_core import to_json
from starlette.responses import Response

MEDIA_TYPE = "application/problem+json"
# Places that one answer names at the most.
_MOST_PLACES = 20


@dataclass(frozen=True, slots=True)
class ProblemKind:
    """A kind of problem: the last part of its `type`, its status and its title."""

    name: str
    status: int
    title: str


KINDS = {
    kind.name: kind
    for kind in (
        ProblemKind("malformed", 400, "The request cannot be read"),
        ProblemKind("unauthorized", 401, "An API key is needed"),
        ProblemKind("other-site", 403, "The request does not come from the page"),
        ProblemKind("not-found", 404, "There is no such path"),
        ProblemKind("method-not-allowed", 405, "The path has no such method"),
        ProblemKind("body-timeout", 408, "The body did not come in time"),
        ProblemKind("too-large", 413, "The body is too large"),
        ProblemKind("media-type", 415, "The body is not JSON"),
        ProblemKind("invalid", 422, "The request is not as it should be"),
        ProblemKind("overloaded", 429, "Too many requests wait already"),
        ProblemKind("internal", 500, "The service failed"),
        ProblemKind("not-ready", 503, "The service is not ready"),
        ProblemKind("engine-unavailable", 503, "The collection cannot be asked at the moment"),
        ProblemKind("timeout", 504, "The time of the request is over"),
    )
}


class Problem(Exception):  # noqa: N818  # RFC 9457's word for it
    """An answer that is no result.

    Attributes:
        kind: Its kind.
        detail: What was found, what was expected, what to do; in one line.
        places: What is wrong where in the body: JSON pointers, each with one line.
        headers: Headers of the answer.
    """

    def __init__(
        self,
        kind: str,
        detail: str,
        *,
        places: Iterable[tuple[str, str]] = (),
        retry_after: float | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.kind = KINDS[kind]
        self.detail = detail
        self.places = list(places)[:_MOST_PLACES]
        self.headers = dict(headers or {})
        if retry_after is not None:
            # Whole seconds are the only unit that RFC 9110 has.
            self.headers["Retry-After"] = str(max(1, math.ceil(retry_after)))

    def response(self, request_id: str) -> Response:
        """The answer."""
        body: dict[str, Any] = {
            "type": f"urn:keydistill:problem:{self.kind.name}",
            "title": self.kind.title,
            "status": self.kind.status,
            "detail": self.detail,
            "request_id": request_id,
        }
        if self.places:
            body["errors"] = [{"pointer": pointer, "detail": detail} for pointer, detail in self.places]
        return Response(to_json(body), self.kind.status, self.headers, media_type=MEDIA_TYPE)


def invalid_body(error: ValidationError) -> Problem:
    """The problem of a body that is no JSON, or not that of the schema; it repeats nothing of the body."""
    errors = error.errors(include_url=False, include_input=False, include_context=False)
    if errors[0]["type"] == "json_invalid":
        return Problem("malformed", f"the body is no JSON: {errors[0]['msg'].removeprefix('Invalid JSON: ')}")
    places = [(_pointer(each["loc"]), each["msg"]) for each in errors]
    return Problem("invalid", f"{places[0][0] or 'the body'}: {places[0][1]}", places=places)


def _pointer(location: Iterable[int | str]) -> str:
    """A JSON pointer; of a field that takes several types, pydantic names the type that it tried, which is no place."""
    parts: list[str] = []
    in_value = False
    for part in location:
        if isinstance(part, int) or not in_value:
            parts.append(f"/{str(part).replace('~', '~0').replace('/', '~1')}")
        in_value = in_value or part in ("equals", "any_of")
    return "".join(parts)
