"""gRPC's own reflection: only where it is asked for, and true."""

from pathlib import Path

import grpc
import pytest

from gputally.proto.v1 import reflection_pb2 as wire
from gputally.proto.v1 import reflection_pb2_grpc, uplink_pb2

from .running import RunningCollector, write_config

INTAKE = "insecure_plaintext = true\n"


def ask(address: str, *requests: wire.ServerReflectionRequest) -> list[wire.ServerReflectionResponse]:
    with grpc.insecure_channel(address) as channel:
        stub = reflection_pb2_grpc.ServerReflectionStub(channel)
        return list(stub.ServerReflectionInfo(iter(requests), timeout=20))


def test_who_asks_hears_which_services_there_are_and_how_their_messages_look(tmp_path: Path) -> None:
    config = write_config(tmp_path, intake=INTAKE + "reflection = true")
    with RunningCollector(config) as collector:
        listed, uplink, by_name, unknown = ask(
            collector.intake,
            wire.ServerReflectionRequest(list_services=""),
            wire.ServerReflectionRequest(file_containing_symbol="gputally.v1.Uplink.Stream"),
            wire.ServerReflectionRequest(file_by_filename=uplink_pb2.DESCRIPTOR.name),
            wire.ServerReflectionRequest(file_containing_symbol="gputally.v1.Secrets"),
        )
    names = [service.name for service in listed.list_services_response.service]
    assert names == ["gputally.v1.Uplink", "grpc.health.v1.Health", "grpc.reflection.v1.ServerReflection"]
    told = list(uplink.file_descriptor_response.file_descriptor_proto)
    assert told == [uplink_pb2.DESCRIPTOR.serialized_pb]
    assert list(by_name.file_descriptor_response.file_descriptor_proto) == told
    assert unknown.error_response.error_code == grpc.StatusCode.NOT_FOUND.value[0]


def test_unless_it_is_switched_on_nobody_hears_anything(tmp_path: Path) -> None:
    with RunningCollector(write_config(tmp_path)) as collector, pytest.raises(grpc.RpcError) as refused:
        ask(collector.intake, wire.ServerReflectionRequest(list_services=""))
    assert "UNIMPLEMENTED" in str(refused.value)
