"""The reading of a chat endpoint's answer.

Only the text decides whether there is a label; log-probabilities and token counts that make no sense are as if they
were not there.
"""

import json
import math
from dataclasses import dataclass
from typing import Any

from keydistill.encoders.judge.judgment import Usage
from keydistill.encoders.judge.yes_no import AROUND, answer_in, thinks, word

# A log-probability is not above 0, but for rounding; not-a-number is caught by the same test.
_ROUNDING = 0.01
# Where one of the two words is not among the alternatives, so much of the mass may be unknown.
_UNSEEN = 0.01
_SHOWN_CHARS = 80
_TURN_OFF = "turn its thinking off or raise max_tokens (judge_request; docs/judge.md)"


class MalformedAnswerError(Exception):
    """An answer that is neither yes nor no; it never leaves this package.

    Attributes:
        usage: Tokens that it took, where the endpoint says so.
    """

    def __init__(self, detail: str, usage: Usage | None = None) -> None:
        super().__init__(detail)
        self.usage = usage


class ErrorAnswerError(Exception):
    """An error that came with the status of a success; it never leaves this package.

    Attributes:
        code: Its code, a status or a name, where the endpoint says so.
    """

    def __init__(self, detail: str, code: object = None) -> None:
        super().__init__(detail)
        self.code = code


@dataclass(frozen=True, slots=True)
class Answer:
    """A plain yes or no; `probability` of yes and `usage` where the endpoint gives them."""

    label: bool
    probability: float | None
    usage: Usage | None


def read_answer(body: str) -> Answer:
    """The judgment in the body of a chat completion.

    The label is what the model said (`answer_in`). Where it also gives log-probabilities, the spellings of yes and of
    no among the alternatives of the first token are summed, P = yes / (yes + no), and the label is P >= 0.5. Where the
    alternatives leave P open by more than a hundredth, there is none.

    Raises:
        MalformedAnswerError: The body is no chat completion, or its text is neither yes nor no.
        ErrorAnswerError: The body is an error.
    """
    completion = _completion(body)
    usage = _usage(completion.get("usage"))
    choices = completion.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, dict) else None
    if not isinstance(choice, dict) or not isinstance(message, dict):
        raise MalformedAnswerError(f"no chat completion, without a message: {cut(body)}", usage)
    text = _text(message.get("content"))
    label = answer_in(text)
    if label is None:
        raise MalformedAnswerError(_complaint(text, message, choice.get("finish_reason")), usage)
    probability = _probability(choice.get("logprobs"), label)
    return Answer(label if probability is None else probability >= 0.5, probability, usage)


def cut(text: str) -> str:
    """The beginning of what somebody said, in one line."""
    line = " ".join(text.split())
    return repr(line if len(line) <= _SHOWN_CHARS else f"{line[:_SHOWN_CHARS]}…")


def said_in(body: str) -> tuple[str, object]:
    """The message and the code in the body of an error, of which servers write several forms; or the body.

    >>> said_in('{"detail": [{"loc": ["body", "top_logprobs"], "msg": "not permitted"}]}')
    ('body.top_logprobs: not permitted', None)
    """
    try:
        content = json.loads(body)
    except (ValueError, RecursionError):
        return body, None
    if not isinstance(content, dict):
        return body, None
    error = content.get("error", content.get("detail", content.get("message")))
    if isinstance(error, dict):
        return str(error.get("message") or error), error.get("code")
    if isinstance(error, list):
        return "; ".join(map(_detail, error)), None
    return (body, None) if error is None else (str(error), content.get("code"))


def _detail(problem: object) -> str:
    """One problem as FastAPI lists them."""
    if not isinstance(problem, dict):
        return str(problem)
    place = ".".join(map(str, problem["loc"])) if isinstance(problem.get("loc"), list) else ""
    return f"{place}: {problem.get('msg')}" if place else str(problem.get("msg", problem))


def _completion(body: str) -> dict[str, Any]:
    try:
        content = json.loads(body.removeprefix("\ufeff"))
    except (ValueError, RecursionError):
        streamed = body.lstrip().startswith(("data:", "event:", ":"))
        what = (
            "a stream, which was not asked for" if streamed else "no JSON; check the address, which mostly ends in /v1"
        )
        raise MalformedAnswerError(f"no chat completion but {what}: {cut(body)}") from None
    if not isinstance(content, dict):
        raise MalformedAnswerError(f"no chat completion: {cut(body)}")
    if content.get("error") and not content.get("choices"):
        raise ErrorAnswerError(*said_in(body))
    return content


def _text(content: object) -> str:
    """The text of a message, also of one in parts."""
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _complaint(text: str, message: dict[str, Any], finish_reason: object) -> str:
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if not text.strip() and isinstance(reasoning, str) and reasoning:
        return f"no answer, only thoughts: {cut(reasoning)}; {_TURN_OFF}"
    if thinks(text):
        return f"thoughts without an end: {cut(text)}; {_TURN_OFF}"
    if not text.strip() and finish_reason == "length":
        return f"no text, and the limit of tokens was reached; {_TURN_OFF}"
    return f"neither yes nor no: {cut(text or str(message.get('refusal') or ''))}"


def _usage(tokens: object) -> Usage | None:
    if not isinstance(tokens, dict):
        return None
    counts = [tokens.get(name) for name in ("prompt_tokens", "completion_tokens")]
    read = [count if type(count) is int and count >= 0 else None for count in counts]
    return None if read[0] is None else Usage(read[0], read[1] or 0)


def _probability(logprobs: object, label: bool) -> float | None:
    tokens = logprobs.get("content") if isinstance(logprobs, dict) else None
    spoken = [token for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []
    first = next((token for token in spoken if str(token.get("token") or "").strip(AROUND)), None)
    # Of a model that thinks aloud the first token is not the answer; its alternatives say nothing about it.
    if first is None or word(str(first["token"])) is not label:
        return None
    mass: dict[bool | None, float] = {True: 0.0, False: 0.0, None: 0.0}
    alternatives = first.get("top_logprobs")
    for alternative in alternatives if isinstance(alternatives, list) else ():
        if not isinstance(alternative, dict):
            continue
        spelling, logprob = alternative.get("token"), alternative.get("logprob")
        if not isinstance(spelling, str) or not isinstance(logprob, int | float):
            continue
        if not logprob <= _ROUNDING:
            return None
        mass[word(spelling)] += math.exp(logprob)
    unseen = max(0.0, 1 - sum(mass.values()))
    if min(mass[True], mass[False]) == 0 and unseen > _UNSEEN:
        return None
    return mass[True] / (mass[True] + mass[False])
