"""Requests are traced with whoever asks, in a process of the service, and named in its log."""

import json

import httpx

from tests.serve.conftest import Home
from tests.support.collector import Collector
from tests.support.service_process import ServiceProcess

PARENT = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
TITLE = "a title that nobody shall read"


def test_a_request_goes_on_with_the_trace_of_its_sender(home: Home) -> None:
    with Collector() as collector:
        with ServiceProcess(home.folder, otlp_endpoint=collector.url, serve_trace_share="0") as service:
            body = {"items": [{"title": TITLE}]}
            with httpx.Client(base_url=service.url, timeout=60) as http:
                headers = {"traceparent": PARENT, "X-Request-Id": "asked"}
                assert http.post("/v1/recommend", json=body, headers=headers).status_code == 200
                assert http.post("/v1/embed", json=body, headers=headers).status_code == 200
                # Of those that bring no trace none is taken.
                assert http.post("/v1/recommend", json=body).status_code == 200
                assert http.post("/v1/recommend", content=b"{", headers=headers).status_code == 415
            of_requests = service.requests()
        spans = collector.spans
    assert {span.trace_id for span in spans} == {PARENT.split("-")[1]}
    assert {span.service for span in spans} == {"keydistill-serve"}
    roots = [span for span in spans if span.parent_id == PARENT.split("-")[2]]
    assert sorted((span.name, span.attributes["http.response.status_code"]) for span in roots) == [
        ("POST /v1/embed", 200),
        ("POST /v1/recommend", 200),
        ("POST /v1/recommend", 415),
    ]
    (recommend,) = [
        span
        for span in roots
        if (span.name, span.attributes["http.response.status_code"]) == ("POST /v1/recommend", 200)
    ]
    assert recommend.attributes["keydistill.generation"] in home.names.values()
    children = [span for span in spans if span.parent_id == recommend.span_id]
    assert sorted(span.name for span in children) == ["embedding", "search", "waiting"]
    assert all(0 <= span.seconds <= recommend.seconds for span in children)
    assert TITLE not in json.dumps([span.attributes for span in spans])
    logged = [line for line in of_requests if line["request_id"] == "asked"]
    assert {line.get("trace_id") for line in logged} == {PARENT.split("-")[1]}
