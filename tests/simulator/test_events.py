"""Xid events: each is told once to each set that was registered before it."""

import time
from pathlib import Path

from gputally.simulator.scenario import Scenario, SimXid, boottime_ns, cut_into

from .client import Client, on_host

INVALID_ARGUMENT, NOT_SUPPORTED, TIMEOUT, IS_LOST, NOT_LOADED, UNINITIALIZED, MEMORY = 2, 3, 10, 15, 9, 1, 20
MS_NS = 1_000_000
NOBODY = 0xFFFFFFFF
WAIT = "nvmlEventSetWait_v2(kept[{!r}], {})"


def register(client: Client, *devices: int, name: str = "set", types: str = "nvmlEventTypeXidCriticalError") -> None:
    client.ask(f"kept.update({name}=nvmlEventSetCreate())")
    for device in devices:
        client.ask(f"nvmlDeviceRegisterEvents(gpu({device}), {types}, kept[{name!r}])")


def told(client: Client, name: str = "set") -> list[int]:
    """The codes of all that has happened, without waiting."""
    codes: list[int] = []
    while not client.code(f"kept.update(data={WAIT.format(name, 0)})"):
        codes.append(client.ask("kept['data'].eventData"))
    return codes


def test_an_event_is_told_once_to_each_set(tmp_path: Path) -> None:
    host = Scenario.host(3)
    with on_host(tmp_path, host) as client:
        register(client, 0, 1)
        register(client, 1, name="other")
        now_ns = boottime_ns()
        host = host.with_xid(0, 31, now_ns + 1).with_xid(host.devices[1].uuid, 94, now_ns).with_xid(2, 79, now_ns)
        client.becomes(host)
        assert told(client) == [94, 31], "in the order in which they happened; nobody has registered for the third"
        assert told(client) == []
        client.becomes(host.with_utilization(0, 5).with_xid(0, 45, boottime_ns()))
        assert told(client) == [45], "a scenario that is written again tells nothing twice"
        assert told(client, "other") == [94]


def test_an_event_says_where_it_happened(tmp_path: Path) -> None:
    host = Scenario.host(2).with_mig_layout(1, cut_into("NVIDIA H100 80GB HBM3", "3g.40gb"))
    with on_host(tmp_path, host) as client:
        register(client, 0, 1)
        xids = (SimXid(0, 79, boottime_ns()), SimXid(1, 43, boottime_ns() + 1, gpu_instance=1, compute_instance=0))
        client.becomes(Scenario(host.devices, xids=xids))
        for device, code, gpu_instance, compute_instance in ((0, 79, NOBODY, NOBODY), (1, 43, 1, 0)):
            client.ask(f"kept.update(data={WAIT.format('set', 0)})")
            assert client.ask(f"nvmlDeviceGetUUID(kept['data'].device) == nvmlDeviceGetUUID(gpu({device}))")
            assert client.ask("kept['data'].eventType == nvmlEventTypeXidCriticalError")
            fields = client.ask("[kept['data'].eventData, kept['data'].gpuInstanceId, kept['data'].computeInstanceId]")
            assert fields == [code, gpu_instance, compute_instance]


def test_what_happened_before_the_registration_is_not_told(tmp_path: Path) -> None:
    host = Scenario.host(1).with_xid(0, 79, boottime_ns())
    with on_host(tmp_path, host) as client:
        register(client, 0)
        assert told(client) == []


def test_who_does_not_wait_is_never_held_up(tmp_path: Path) -> None:
    """A wait would give up the processor each time."""
    switches = "__import__('resource').getrusage(__import__('resource').RUSAGE_THREAD).ru_nvcsw"
    with on_host(tmp_path, Scenario.host(1)) as client:
        register(client, 0)
        call = "raw('nvmlEventSetWait_v2', kept['set'], byref(c_nvmlEventData_t()), 0)"
        before, codes, after = client.ask(f"[{switches}, [{call} for _ in range(1000)], {switches}]")
        assert codes == [TIMEOUT] * 1000
        assert after - before < 100


def test_who_waits_is_told_when_it_happens_and_waits_no_longer_than_asked(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host) as client:
        register(client, 0)
        begin_ns = boottime_ns()
        assert client.code(WAIT.format("set", 80)) == TIMEOUT
        assert boottime_ns() - begin_ns >= 80 * MS_NS
        at_ns = boottime_ns() + 100 * MS_NS
        host.with_xid(0, 48, at_ns).write(client.scenario)
        assert client.ask(f"{WAIT.format('set', 30_000)}.eventData") == 48
        assert boottime_ns() >= at_ns
        client.begin(WAIT.format("set", 30_000))
        time.sleep(0.03)
        host.with_xid(0, 48, at_ns).with_xid(0, 63, boottime_ns()).write(client.scenario)
        client.finish()


def test_other_threads_go_on_while_one_waits(tmp_path: Path) -> None:
    with on_host(tmp_path, Scenario.host(1)) as client:
        register(client, 0)
        client.ask("kept.update(work=lambda: nvmlEventSetWait_v2(kept['set'], 60_000))")
        client.ask("__import__('threading').Thread(target=kept['work'], daemon=True).start()")
        assert client.ask("nvmlDeviceGetCount()") == 1


def test_a_wait_ends_with_the_driver_and_with_a_lost_device(tmp_path: Path) -> None:
    host = Scenario.host(2)
    with on_host(tmp_path, host) as client:
        register(client, 0)
        client.begin("raw('nvmlEventSetWait_v2', kept['set'], byref(c_nvmlEventData_t()), 60000)")
        host.with_xid(0, 79, boottime_ns() + 1).with_lost(0).write(client.scenario)
        assert client.finish() == 0, "the event comes first"
        assert client.code(WAIT.format("set", 60_000)) == IS_LOST
        client.becomes(host)
        client.ask("[nvmlShutdown(), nvmlInit()]")
        assert client.code(WAIT.format("set", 0)) == INVALID_ARGUMENT, "sets end with the last shutdown"
        register(client, 0)
        client.begin("raw('nvmlEventSetWait_v2', kept['set'], byref(c_nvmlEventData_t()), 60000)")
        host.with_driver_reload(boottime_ns()).write(client.scenario)
        assert client.finish() == NOT_LOADED


def test_only_what_a_board_supports_can_be_registered(tmp_path: Path) -> None:
    host = Scenario.host(1).with_mig_layout(0, cut_into("NVIDIA H100 80GB HBM3", "1g.10gb"))
    with on_host(tmp_path, host) as client:
        assert client.ask("nvmlDeviceGetSupportedEventTypes(gpu(0)) & nvmlEventTypeXidCriticalError")
        register(client)
        call = "nvmlDeviceRegisterEvents({}, {}, kept['set'])"
        assert client.code(call.format("gpu(0)", "nvmlEventTypeClock")) == NOT_SUPPORTED
        assert client.code(call.format("gpu(0)", 1 << 40)) == client.code(call.format("gpu(0)", 0)) == INVALID_ARGUMENT
        mig = "nvmlDeviceGetMigDeviceHandleByIndex(gpu(0), 0)"
        assert client.code(call.format(mig, "nvmlEventTypeXidCriticalError")) == NOT_SUPPORTED
        client.ask(call.format("gpu(0)", "nvmlEventTypeXidCriticalError"))
        client.ask("nvmlEventSetFree(kept['set'])")
        assert client.code(WAIT.format("set", 0)) == client.code("nvmlEventSetFree(kept['set'])") == INVALID_ARGUMENT
        assert client.code("[nvmlEventSetCreate() for _ in range(65)]") == MEMORY, "who frees none is found out"


def test_the_first_version_leaves_alone_what_its_callers_have_no_room_for(tmp_path: Path) -> None:
    host = Scenario.host(1)
    with on_host(tmp_path, host) as client:
        register(client, 0)
        client.becomes(host.with_xid(0, 79, boottime_ns()))
        client.ask("kept.update(data=create_string_buffer(b'!' * 40, 40))")
        assert client.ask("raw('nvmlEventSetWait', kept['set'], kept['data'], 0)") == 0
        assert bytes(client.ask("list(kept['data'].raw)"))[16:] == (79).to_bytes(8, "little") + b"!" * 16
