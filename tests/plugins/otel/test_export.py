"""What the host sees arrives at real receivers, and none of them can hold up the meter."""

import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from typing import Any, cast

import pytest
from opentelemetry.proto.collector.metrics.v1.metrics_service_pb2 import ExportMetricsServiceRequest
from opentelemetry.proto.metrics.v1.metrics_pb2 import Metric, NumberDataPoint

from gputally.model.settings import BadSettings
from gputally.plugins.otel import make_telemetry
from gputally.plugins.otel.errors import TelemetryUnusable
from gputally.plugins.otel.exporting import OtelTelemetry
from gputally.plugins.otel.scrape import MOST_CONNECTIONS
from gputally.plugins.otel.target import OtlpTarget, parse_otlp

from .receiver import Received, grpc_receiver, http_receiver, silent_receiver
from .sightings import H100, LOST, PID, SESSION, WORKLOAD, Config, batch, sighting

OFTEN = {"OTEL_METRIC_EXPORT_INTERVAL": "100"}
Receiver = Callable[[], AbstractContextManager[tuple[str, Received]]]


def start(config: Config, environ: Mapping[str, str] | None = None) -> OtelTelemetry:
    made = make_telemetry(config, "gpu-01", environ or {})
    assert isinstance(made, OtelTelemetry)
    return made


def scrape(telemetry: OtelTelemetry, path: str = "/metrics") -> str:
    with urllib.request.urlopen(f"http://{telemetry.address}{path}", timeout=5) as answer:
        return cast(bytes, answer.read()).decode()


@pytest.fixture
def scraped() -> Iterator[OtelTelemetry]:
    with closing(start(Config(prometheus="127.0.0.1:0"))) as telemetry:
        yield telemetry


def points(request: ExportMetricsServiceRequest) -> dict[str, Metric]:
    [resource] = request.resource_metrics
    return {metric.name: metric for scope in resource.scope_metrics for metric in scope.metrics}


def labels(point: NumberDataPoint) -> dict[str, str]:
    return {each.key: each.value.string_value for each in point.attributes}


@pytest.mark.parametrize("receiver", [grpc_receiver, http_receiver])
def test_a_receiver_gets_hardware_and_tenants_with_their_units(
    receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(*next(iter(OFTEN.items())))
    with receiver() as (url, received):
        over_http = url + "/v1/metrics" if receiver is http_receiver else url
        with closing(start(Config(otlp=over_http), OFTEN)) as telemetry:
            telemetry.observe(sighting())
            telemetry.account(batch())
            deadline = time.monotonic() + 10
            found: dict[str, Metric] = {}
            while "gputally.allocated.time" not in found and time.monotonic() < deadline:
                request = received.get(timeout=10)
                found = points(request)
    resource = {each.key: each.value.string_value for each in request.resource_metrics[0].resource.attributes}
    assert (resource["service.name"], resource["host.id"]) == ("gputallyd", "gpu-01")
    [busy] = found["hw.gpu.utilization"].gauge.data_points
    assert busy.as_double == 0.5
    assert labels(busy) == {
        "hw.id": "GPU-11112222-aaaa-bbbb-cccc-000000000001",
        "hw.type": "gpu",
        "hw.name": "GPU-11112222",
        "hw.vendor": "NVIDIA",
        "hw.model": H100,
        "hw.gpu.task": "general",
    }
    [energy] = found["hw.energy"].sum.data_points
    assert (energy.as_double, found["hw.energy"].unit, found["hw.energy"].sum.is_monotonic) == (2.5, "J", True)
    [usage] = found["hw.gpu.memory.usage"].sum.data_points
    assert (usage.as_int, found["hw.gpu.memory.usage"].unit) == (3 << 30, "By")
    assert not found["hw.gpu.memory.usage"].sum.is_monotonic
    [allocated] = found["gputally.allocated.time"].sum.data_points
    assert (allocated.as_double, found["gputally.allocated.time"].unit) == (45.0, "s")
    assert labels(allocated) == {"gputally.tenant": "acme", "gputally.project": "vision", "hw.model": H100}
    [unobserved] = found["gputally.unobserved.time"].sum.data_points
    assert (unobserved.as_double, labels(unobserved)["gputally.reason"]) == (1e-9, "nvml_hang")
    assert found["gputally.idle.time"].sum.data_points[0].as_double == 15.0
    for secret in (str(PID), SESSION, WORKLOAD):
        assert secret not in str(request)


def test_prometheus_can_scrape_the_same(scraped: OtelTelemetry) -> None:
    scraped.observe(sighting())
    scraped.account(batch())
    scraped.account(batch())
    page = scrape(scraped)
    tenant = f'{{gputally_project="vision",gputally_tenant="acme",hw_model="{H100}"}}'
    assert f"gputally_allocated_time_seconds_total{tenant} 90.0" in page
    assert 'host_id="gpu-01"' in page
    assert next(line for line in page.splitlines() if line.startswith("hw_gpu_utilization{")).endswith(" 0.5")
    for secret in (str(PID), SESSION, WORKLOAD):
        assert secret not in page


def test_a_lost_gpu_has_a_state_and_no_utilization(scraped: OtelTelemetry) -> None:
    scraped.observe(sighting())
    lost = LOST.device_id.removeprefix("nvidia:")
    lines = [line for line in scrape(scraped).splitlines() if lost in line]
    assert not [line for line in lines if line.startswith("hw_gpu_utilization")]
    [state] = [line for line in lines if line.startswith("hw_status") and line.endswith(" 1.0")]
    assert 'hw_state="failed"' in state


def test_alarms_are_counted_and_no_alarm_is_a_zero(scraped: OtelTelemetry) -> None:
    def alarms() -> list[str]:
        return sorted(line for line in scrape(scraped).splitlines() if line.startswith("gputally_alarms{"))

    kinds = ("gpu_missing", "no_gpus", "uplink_forked", "uplink_refused")
    none = [f'gputally_alarms{{gputally_alarm="{kind}"}} 0.0' for kind in kinds]
    assert alarms() == none
    scraped.alarm({"gpu_missing": 2, "uplink_refused": 1})
    assert alarms() == [none[0].replace("0.0", "2.0"), *none[1:3], none[3].replace("0.0", "1.0")]
    scraped.alarm({})
    assert alarms() == none


def test_before_the_first_reading_there_is_nothing_about_gpus(scraped: OtelTelemetry) -> None:
    assert "hw_id" not in scrape(scraped)


def test_only_the_path_of_metrics_is_served(scraped: OtelTelemetry) -> None:
    with pytest.raises(urllib.error.HTTPError, match="404"):
        scrape(scraped, "/")


def test_clients_that_say_nothing_are_few_and_do_not_stay(
    scraped: OtelTelemetry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gputally.plugins.otel.scrape._Handler.timeout", 0.5)
    assert scraped.address
    place = (scraped.address.host, scraped.address.port)
    clients = [socket.create_connection(place, timeout=5) for _ in range(MOST_CONNECTIONS + 1)]
    assert clients[-1].recv(1) == b""  # one too many is turned away at once
    deadline = time.monotonic() + 5
    page = ""
    while not page and time.monotonic() < deadline:
        try:
            page = scrape(scraped)
        except OSError:
            time.sleep(0.05)
    assert "target_info" in page
    for client in clients:
        client.close()


def test_an_address_that_is_taken_is_named_with_its_key() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(TelemetryUnusable, match=f"telemetry.prometheus: cannot listen on {address}: Address al"):
            start(Config(prometheus=address))


def test_an_exporter_that_hangs_costs_the_meter_nothing_and_ends_within_a_second() -> None:
    with silent_receiver() as url:
        telemetry = start(Config(otlp=url, prometheus="127.0.0.1:0"), OFTEN)
        longest_s = 0.0
        for _ in range(300):
            began = time.monotonic()
            telemetry.observe(sighting())
            telemetry.account(batch())
            longest_s = max(longest_s, time.monotonic() - began)
            time.sleep(0.001)
        assert "hw_gpu_utilization{" in scrape(telemetry)  # the other exporter goes on
        began = time.monotonic()
        telemetry.close()
        assert time.monotonic() - began < 1.0
        assert longest_s < 0.1


def test_a_process_whose_exporter_hangs_still_ends() -> None:
    with silent_receiver() as url:
        code = (
            "import sys, time; from types import SimpleNamespace as N; from gputally.plugins.otel import *\n"
            "t = make_telemetry(N(otlp=sys.argv[1], prometheus=None), 'h'); time.sleep(0.3)\n"
            "t.close(); print('closed')"
        )
        environ = {**OFTEN, "PATH": ""}
        done = subprocess.run(
            [sys.executable, "-c", code, url], capture_output=True, text=True, timeout=10, env=environ, check=False
        )
    assert (done.returncode, done.stdout) == (0, "closed\n")
    assert "Traceback" not in done.stderr


def test_without_an_address_there_is_no_telemetry_and_no_library_is_loaded() -> None:
    code = (
        "import sys; from types import SimpleNamespace as N; from gputally.plugins.otel import make_telemetry\n"
        "assert make_telemetry(N(otlp=None, prometheus=None), 'h') is None\n"
        "print([name for name in sys.modules if name.startswith(('opentelemetry', 'prometheus', 'grpc'))])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize(
    ("module", "config", "key"),
    [
        ("opentelemetry.exporter.otlp.proto.grpc.metric_exporter", Config(otlp="http://a:1"), "telemetry.otlp"),
        ("opentelemetry.exporter.otlp.proto.http.metric_exporter", Config(otlp="http://a:4318"), "telemetry.otlp"),
        ("opentelemetry.exporter.prometheus", Config(prometheus="127.0.0.1:0"), "telemetry.prometheus"),
    ],
)
def test_a_package_that_is_missing_is_named_with_the_cure(
    module: str, config: Config, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(cast(dict[str, Any], sys.modules), module, None)
    with pytest.raises(BadSettings, match=rf"{key}: needs {module}.*pip install 'gputally\[otel\]'"):
        make_telemetry(config, "gpu-01", {})


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("http://127.0.0.1:4317", OtlpTarget("http://127.0.0.1:4317", over_http=False)),
        ("https://otel.example:4317/", OtlpTarget("https://otel.example:4317", over_http=False)),
        ("http://otel:4318", OtlpTarget("http://otel:4318/v1/metrics", over_http=True)),
        ("https://otel.example/otlp/v1/metrics", OtlpTarget("https://otel.example/otlp/v1/metrics", over_http=True)),
    ],
)
def test_the_address_says_which_protocol_is_spoken(text: str, target: OtlpTarget) -> None:
    assert parse_otlp(text) == target


@pytest.mark.parametrize("text", ["", "otel:4317", "ftp://otel:1", "http://", "http://a:99999", "http://a:1?x=1"])
def test_an_address_that_says_nothing_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="must be http://host:port"):
        parse_otlp(text)


def test_a_receiver_that_is_away_is_named_once() -> None:
    code = (
        "import time; from types import SimpleNamespace as N; from gputally.plugins.otel import *\n"
        "t = make_telemetry(N(otlp='http://127.0.0.1:1', prometheus=None), 'h'); time.sleep(2); t.close()"
    )
    environ = {**OFTEN, "OTEL_EXPORTER_OTLP_METRICS_TIMEOUT": "1"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environ, check=True)
    assert len(done.stderr.splitlines()) == 1
    assert "127.0.0.1:1" in done.stderr
