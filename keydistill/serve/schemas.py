"""The bodies of requests and answers, as the OpenAPI document describes them."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, StrictBool, StrictInt, StrictStr

from keydistill.retrieval import MatchCategory

_INT64 = 2**63
_Int64 = Annotated[StrictInt, Field(ge=-_INT64, lt=_INT64)]
_Number = Annotated[float, Field(strict=True, allow_inf_nan=False, ge=-1e300, le=1e300)]
_Text = Annotated[StrictStr, Field(max_length=1_000)]
# A path into a keyphrase's payload, in the letters that Qdrant takes without quotes.
_FieldName = Annotated[StrictStr, Field(pattern=r"^[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*$", max_length=200)]


class StrictBody(BaseModel):
    """A body that has nothing but the fields that it names."""

    # A misspelt name is refused, not ignored.
    model_config = ConfigDict(extra="forbid", frozen=True)


class PayloadCondition(StrictBody):
    """A condition on a payload field: `equals`, or `any_of`, or bounds of a number (`gte`, `gt`, `lte`, `lt`)."""

    field: _FieldName
    equals: StrictBool | _Int64 | _Text | None = Field(
        default=None, description="the value, or one of the elements, of the field"
    )
    any_of: Annotated[list[_Text] | list[_Int64], Field(min_length=1)] | None = Field(
        default=None, description="values of which the field has one"
    )
    gte: _Number | None = None
    gt: _Number | None = None
    lte: _Number | None = None
    lt: _Number | None = None


class Filters(StrictBody):
    """What keyphrases must pass."""

    match_category: MatchCategory = Field(
        default="none", description="whether a keyphrase must be in the item's category, or in the parent of that one"
    )
    category: str | None = Field(
        default=None, description="category of the keyphrases, as a path or an id, with all below it"
    )
    site: str | None = Field(default=None, description="marketplace site; unset: the item's, if it has one")
    min_search_volume: Annotated[_Int64, Field(ge=0)] | None = Field(default=None, description="least search volume")
    where: list[PayloadCondition] = Field(
        default_factory=list, description="further conditions on payload fields, all of which hold"
    )


class ListChoice(StrictBody):
    """What makes a list of the nearest keyphrases one that an advertiser can use; without it they are the nearest."""

    min_score: Annotated[_Number, Field(ge=-1, le=1)] | None = Field(default=None, description="least score")
    fallback: Annotated[_Int64, Field(ge=0, le=10_000)] = Field(
        default=0, description="with fewer keyphrases than this, the category above the filter's is asked, too"
    )
    merge_variants: StrictBool = Field(
        default=False, description="keyphrases that differ in word order, plural, spacing or accents become one"
    )
    rerank: Annotated[_Int64, Field(ge=0, le=200)] = Field(
        default=0, description="number of nearest keyphrases that the assistant puts in its order"
    )
    volume_weight: Annotated[_Number, Field(ge=0, le=10)] = Field(
        default=0.0, description="what ten times as many searches are worth, as a part of the score"
    )
    diversity: Annotated[_Number, Field(ge=0, le=1)] = Field(
        default=0.0, description="weight of what is new in a list against what is relevant"
    )
    candidates: Annotated[_Int64, Field(ge=1, le=2_000)] | None = Field(
        default=None, description="nearest keyphrases that a list is chosen from; unset: four times its length"
    )
    explain: StrictBool = Field(default=False, description="say of each keyphrase why it is there")


NO_FILTERS = Filters()
NO_CHOICE = ListChoice()


class ServiceItem(StrictBody):
    """A listing."""

    id: str | None = Field(default=None, max_length=200, description="comes back with the answer")
    title: str
    category_id: str | None = Field(default=None, description="id of the leaf category")
    category_path: str | None = Field(default=None, description="path of the leaf category, 'A > B > C'")
    site: str | None = Field(default=None, description="marketplace site of the item, and of its keyphrases")
    fields: dict[str, _Text | None] = Field(
        default_factory=dict, description="further fields, such as the brand, which some students read"
    )
    exclude: list[_Text] = Field(
        default_factory=list, description="keyphrases that the answer must not have, such as those that are bid on"
    )


class EmbedRequest(StrictBody):
    """Items to embed."""

    model_config = ConfigDict(
        json_schema_extra={"examples": [{"items": [{"id": "a1", "title": "Apple iPhone 13 clear case"}]}]}
    )

    items: Annotated[list[ServiceItem], Field(min_length=1)]


class RecommendRequest(StrictBody):
    """Items to find keyphrases for."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "items": [
                        {
                            "id": "a1",
                            "title": "Apple iPhone 13 clear case",
                            "category_path": "Cell Phones > Cases",
                            "site": "us",
                        }
                    ],
                    "limit": 5,
                    "filters": {"match_category": "leaf", "min_search_volume": 100},
                }
            ]
        }
    )

    items: Annotated[list[ServiceItem], Field(min_length=1)]
    limit: Annotated[_Int64, Field(ge=1)] = Field(default=10, description="most keyphrases per item")
    # Factories: pydantic copies a default, field by field, for each request.
    filters: Filters = Field(
        default_factory=lambda: NO_FILTERS, description="what the keyphrases of all items must pass"
    )
    options: ListChoice = Field(
        default_factory=lambda: NO_CHOICE, description="what the lists are made of the nearest ones by"
    )


class GenerationName(BaseModel):
    """The generation that answered: a collection, and the student that built it and embedded the items."""

    collection: str
    student_version: str


class KeyphraseExplanation(BaseModel):
    """Why a keyphrase stands where it stands."""

    collection: str
    value: float = Field(description="what the list is ordered by, before diversity")
    probability: float | None = Field(description="the assistant's probability, where it was asked")
    category: str | None = Field(description="the deepest category that item and keyphrase share")
    ranks: dict[str, int] = Field(description="rank after each step")


class Keyphrase(BaseModel):
    """A keyphrase for an item."""

    keyphrase: str
    score: float = Field(description="cosine similarity of item and keyphrase")
    payload: dict[str, Any] = Field(description="its fields in the inventory")
    variants: list[str] | None = Field(default=None, description="other spellings that it stands for")
    fallback: str | None = Field(default=None, description="category above the one asked for in which it was found")
    explanation: KeyphraseExplanation | None = None


class ItemKeyphrases(BaseModel):
    """The keyphrases of an item, best first."""

    id: str | None
    keyphrases: list[Keyphrase]


class RecommendAnswer(BaseModel):
    """Keyphrases for each item, in the order of the request, all by one generation."""

    generation: GenerationName
    results: list[ItemKeyphrases]


class ItemVector(BaseModel):
    """The vector of an item."""

    id: str | None
    vector: list[float] = Field(description="L2-normalised")


class EmbedAnswer(BaseModel):
    """A vector for each item, in the order of the request; only this collection may be asked with them."""

    generation: GenerationName
    dimension: int
    results: list[ItemVector]


class GenerationAnswer(BaseModel):
    """What answers, and what the alias names."""

    generation: GenerationName
    alias: str
    named: str = Field(description="the collection that the alias named when it was last read")
    since: str = Field(description="time at which this process began to answer with it")
    changes: int = Field(description="changes of the generation that this process has seen")
    failure: str | None = Field(description="why the alias cannot be followed; null where it can")


class Health(BaseModel):
    """The process lives, or is ready."""

    status: Literal["ok"]


class ProblemPlace(BaseModel):
    """One thing that is wrong with a body."""

    detail: str
    pointer: str = Field(description="JSON pointer to it")


class ProblemAnswer(BaseModel):
    """Problem details (RFC 9457)."""

    type: str
    title: str
    status: int
    detail: str
    request_id: str
    errors: list[ProblemPlace] | None = None
