"""Whatever is asked of the paths about contracts, the answer is an answer or a problem, never an error of ours."""

from urllib.parse import quote

import httpx
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from .running import RunningCollector
from .test_allocation import DAY

PATHS = ("/v1/leases/usage", "/v1/reservations/usage", "/v1/exclusions", "/v1/workloads", "/v1/slo", "/v1/hosts",
         "/v1/policy", "/v1/quota/A")  # fmt: skip
NAMES = ("range_from", "range_to", "tenant", "workload", "as_of", "scale", "offset", "limit", "at")
TIMES = ("2025-06-01T00:00:00Z", "2025-06-02T00:00:00Z", "2115-01-01T00:00:00Z", "2025-06-01T00:00:01Z")
values = st.one_of(
    st.sampled_from((*TIMES, "0", "-1", "9" * 30, "A:B", "\x00")),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(PATHS), st.dictionaries(st.sampled_from(NAMES), values, max_size=5))
def test_parameters_of_every_wrong_kind_are_a_problem(
    shared_collector: RunningCollector, path: str, told: dict[str, str]
) -> None:
    ranged = path not in ("/v1/policy", "/v1/quota/A")
    answer = httpx.get(shared_collector.url + path, params={**(DAY if ranged else {}), **told}, timeout=30)
    assert answer.status_code in (200, 400, 403), (answer.url, answer.text)


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=20))
def test_a_quota_of_any_name_is_answered(shared_collector: RunningCollector, name: str) -> None:
    answer = httpx.get(f"{shared_collector.url}/v1/quota/{quote(name, safe='')}", timeout=30)
    assert answer.status_code in (200, 307, 404), (answer.url, answer.text)
