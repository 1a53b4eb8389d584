"""The reading of a chat endpoint's answer: strict, so that whatever is not a plain yes or no is no judgment."""

import math
from dataclasses import dataclass

from pydantic import BaseModel, Field, ValidationError

from keydistill.encoders.judge.judgment import Usage

_WORDS = {"yes": True, "no": False}
# What models put around the one word: quotes, emphasis, a full stop; and how tokenizers mark a leading space.
_AROUND = " \t\r\n.!\"'`*▁Ġ"

# A log-probability is not above 0, but for rounding; not-a-number is caught by the same test.
_ROUNDING = 0.01
# Where one of the two words is not among the alternatives, so much of the mass may be unknown.
_UNSEEN = 0.01


class MalformedAnswerError(Exception):
    """An answer that is neither yes nor no; it never leaves this package.

    Attributes:
        usage: Tokens that it took, where the endpoint says so.
    """

    def __init__(self, detail: str, usage: Usage | None = None) -> None:
        super().__init__(detail)
        self.usage = usage


@dataclass(frozen=True, slots=True)
class Answer:
    """A plain yes or no; `probability` of yes and `usage` where the endpoint gives them."""

    label: bool
    probability: float | None
    usage: Usage | None


class _Alternative(BaseModel):
    token: str
    logprob: float


class _Token(_Alternative):
    top_logprobs: list[_Alternative] | None = None


class _Logprobs(BaseModel):
    content: list[_Token] | None = None


class _Message(BaseModel):
    content: str | None = None
    refusal: str | None = None


class _Choice(BaseModel):
    message: _Message
    logprobs: _Logprobs | None = None


class _Tokens(BaseModel):
    prompt_tokens: int = Field(ge=0)
    completion_tokens: int = Field(default=0, ge=0)


class _Completion(BaseModel):
    choices: list[_Choice] = Field(min_length=1)
    usage: _Tokens | None = None


def read_answer(body: str) -> Answer:
    """The judgment in the body of a chat completion.

    The label is what the model said. Where it also gives log-probabilities, the spellings of yes and of no among the
    alternatives of the first token are summed, P = yes / (yes + no), and the label is P >= 0.5. Where the alternatives
    leave P open by more than a hundredth, there is none.

    Raises:
        MalformedAnswerError: The body is no chat completion, or its text is not exactly yes or no.
    """
    try:
        completion = _Completion.model_validate_json(body)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise MalformedAnswerError(f"no chat completion: {f'{where}: ' if where else ''}{first['msg']}") from None
    tokens = completion.usage
    usage = None if tokens is None else Usage(tokens.prompt_tokens, tokens.completion_tokens)
    choice = completion.choices[0]
    label = word(choice.message.content or "")
    if label is None:
        text = choice.message.content or choice.message.refusal or ""
        raise MalformedAnswerError(f"neither yes nor no: {text[:60]!r}", usage)
    probability = None if choice.logprobs is None else _probability(choice.logprobs.content or [], label)
    return Answer(label if probability is None else probability >= 0.5, probability, usage)


def word(text: str) -> bool | None:
    """True for yes, False for no, None for anything else.

    >>> word(" Yes."), word("**no**"), word("yes, because it fits"), word("")
    (True, False, None, None)
    """
    return _WORDS.get(text.strip(_AROUND).lower())


def _probability(tokens: list[_Token], label: bool) -> float | None:
    first = next((token for token in tokens if token.token.strip(_AROUND)), None)
    # Of a model that thinks aloud the first token is not the answer; its alternatives say nothing about it.
    if first is None or word(first.token) is not label:
        return None
    mass: dict[bool | None, float] = {True: 0.0, False: 0.0, None: 0.0}
    for alternative in first.top_logprobs or []:
        if not alternative.logprob <= _ROUNDING:
            return None
        mass[word(alternative.token)] += math.exp(alternative.logprob)
    unseen = max(0.0, 1 - sum(mass.values()))
    if min(mass[True], mass[False]) == 0 and unseen > _UNSEEN:
        return None
    return mass[True] / (mass[True] + mass[False])
