"""The standard gRPC reflection service: which services there are here and what their messages look like.

Off unless ``intake.reflection`` says otherwise: it tells nothing that is not in our .proto files, but also to those
who have no business here.
"""

from collections.abc import AsyncIterator
from typing import Any, Final

import grpc

from ..proto.v1 import health_pb2, reflection_pb2, uplink_pb2
from ..proto.v1.reflection_pb2_grpc import ServerReflectionServicer

_FILES: Final = (uplink_pb2.DESCRIPTOR, health_pb2.DESCRIPTOR, reflection_pb2.DESCRIPTOR)


class Reflection(ServerReflectionServicer):
    """Answers from the descriptors that the generated code carries. No message of ours has extensions."""

    def __init__(self) -> None:
        self._files: dict[str, bytes] = {}
        self._symbols: dict[str, str] = {}
        for file in _FILES:
            self._add(file)
        self._services = sorted(service.full_name for file in _FILES for service in file.services_by_name.values())

    async def ServerReflectionInfo(self, request_iterator: Any, context: Any) -> AsyncIterator[Any]:
        async for request in request_iterator:
            answer = reflection_pb2.ServerReflectionResponse(valid_host=request.host, original_request=request)
            self._answer(request, answer)
            yield answer

    def _add(self, file: Any) -> None:
        self._files[file.name] = file.serialized_pb
        names = [*file.message_types_by_name.values(), *file.enum_types_by_name.values()]
        for service in file.services_by_name.values():
            names += [service, *service.methods]
        self._symbols |= {symbol.full_name: file.name for symbol in names}
        for dependency in file.dependencies:
            self._add(dependency)

    def _answer(self, request: Any, answer: Any) -> None:
        asked = request.WhichOneof("message_request")
        if asked == "list_services":
            answer.list_services_response.service.extend(
                reflection_pb2.ServiceResponse(name=name) for name in self._services
            )
            return
        name = request.file_by_filename
        if asked == "file_containing_symbol":
            name = self._symbols.get(request.file_containing_symbol, "")
        if name in self._files:
            answer.file_descriptor_response.file_descriptor_proto.append(self._files[name])
        else:
            answer.error_response.error_code = grpc.StatusCode.NOT_FOUND.value[0]
            answer.error_response.error_message = "nothing of that name is served here"
