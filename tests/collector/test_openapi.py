"""The OpenAPI document is true: everything that it allows, and forbids, is asked of a real collector with data.

schemathesis makes the requests from the document itself, so paths that are added later are asked as well.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis import Case, GenerationMode
from schemathesis.checks import not_a_server_error
from schemathesis.config import SchemathesisConfig
from schemathesis.specs.openapi.checks import (
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
)

from .priced import golden_host, guarded_config, publish
from .running import RunningCollector

CHECKS: Any = [
    allow_header_conformance,
    content_type_conformance,
    ignored_auth,
    negative_data_rejection,
    not_a_server_error,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
    unsupported_method,
]
REFUSED: Any = [400, 401, 403, 404, 405, 409, 413]
CONFIG = SchemathesisConfig.from_dict({"checks": {"negative_data_rejection": {"expected-statuses": REFUSED}}})
MODES = {"allowed": GenerationMode.POSITIVE, "forbidden": GenerationMode.NEGATIVE}


@pytest.fixture(scope="module")
def guarded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningCollector]:
    folder: Path = tmp_path_factory.mktemp("openapi")
    with RunningCollector(guarded_config(folder)) as running:
        running.deliver(golden_host())
        assert publish(running).status_code == 201
        running.wait_until_folded()
        yield running


@pytest.fixture(scope="module")
def document(guarded: RunningCollector) -> dict[str, Any]:
    told: dict[str, Any] = guarded.ask("/openapi.json").json()
    return told


def examples(request: pytest.FixtureRequest, few: int, many: int) -> int:
    return many if request.config.getoption("--long") else few


@pytest.mark.parametrize("mode", MODES)
def test_whatever_is_asked_the_answer_is_one_that_the_document_names(
    guarded: RunningCollector, document: dict[str, Any], mode: str, request: pytest.FixtureRequest
) -> None:
    """Of the operator, who may ask everything; each operation alike, whatever it is."""
    headers = {"Authorization": "Bearer op"}
    for found in schemathesis.openapi.from_dict(document, config=CONFIG).get_all_operations():
        operation = cast("Any", found).ok()
        if mode == "forbidden" and not {"parameters", "requestBody"} & set(operation.definition.raw):
            continue  # nothing that could be wrong

        def ask(case: Case[Any]) -> None:
            case.call_and_validate(base_url=guarded.url, headers=headers, checks=CHECKS, timeout=60)

        strategy = operation.as_strategy(generation_mode=MODES[mode])
        bounded = settings(
            max_examples=examples(request, 12, 300),
            deadline=None,
            phases=[Phase.generate],
            suppress_health_check=list(HealthCheck),
            derandomize=True,
            database=None,
        )
        run: Any = cast("Any", bounded)(given(strategy)(ask))  # type: ignore[no-untyped-call]
        run()
