"""A wrong daemon.toml is refused before anything is touched, in words that name the key and the cure."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from gputally.daemon.config import DaemonConfig
from gputally.daemon.loading import load_daemon_config
from gputally.model.settings import BadSettings

from ..certificates import Authority, make_authority


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "daemon.toml"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return make_authority(tmp_path)


def load(toml: Path, text: str, environ: Mapping[str, str] | None = None) -> DaemonConfig:
    toml.write_text(text)
    return load_daemon_config(toml, environ or {})


def refusal(toml: Path, text: str, environ: Mapping[str, str] | None = None) -> str:
    with pytest.raises(BadSettings) as refused:
        load(toml, text, environ)
    return str(refused.value)


def test_without_a_file_the_defaults_and_the_environment_count() -> None:
    config = load_daemon_config(None, {"GPUTALLY_SAMPLING__EVERY_S": "0.5"})
    assert config.sampling.every_s == 0.5
    assert config.metering == DaemonConfig().metering


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match=r"nowhere\.toml: there is no such file"):
        load_daemon_config(tmp_path / "nowhere.toml", {})


def test_a_folder_given_as_a_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSettings, match="cannot be read: Is a directory"):
        load_daemon_config(tmp_path, {})


def test_what_is_not_toml_is_shown_with_line_and_column(toml: Path) -> None:
    assert "is not TOML: " in (said := refusal(toml, "[host]\nid = gpu"))
    assert "line 2, column" in said


def test_what_is_not_utf_8_is_shown_with_its_line(toml: Path) -> None:
    toml.write_bytes(b'[host]\nid = "\xff"\n')
    with pytest.raises(BadSettings, match="is not UTF-8 in line 2"):
        load_daemon_config(toml, {})


def test_a_file_of_megabytes_is_no_configuration(toml: Path) -> None:
    assert "is longer than" in refusal(toml, "#" * 2_000_000)


def test_the_configuration_of_the_interface_page_is_good(toml: Path, authority: Authority) -> None:
    certificate, key = authority.issue("gpu-01")
    config = load(
        toml,
        tls(authority.ca, certificate, key, "collector.example:7443")
        + """
        linger_s = inf
        [telemetry]
        otlp = "http://127.0.0.1:4317"
        prometheus = "127.0.0.1:9464"
        [[attribution.rules]]
        match = { kind = "docker", label."com.example.team" = "vision" }
        tenant = "acme"
        """,
    )
    assert config.uplink.endpoints == ("collector.example:7443",)
    assert config.attribution.rules[0]["match"]["label"] == {"com.example.team": "vision"}


def test_plaintext_is_for_loopback(toml: Path) -> None:
    plain = "[uplink]\ninsecure_plaintext = true\n"
    assert load(toml, plain + 'endpoints = ["127.0.0.1:1", "[::1]:2", "localhost:3"]').uplink.insecure_plaintext
    far = plain + 'endpoints = ["127.0.0.1:1", "10.0.0.1:1"]'
    assert "10.0.0.1:1 is not on loopback" in refusal(toml, far)
    assert load(toml, far + "\ninsecure_plaintext_anywhere = true").uplink.insecure_plaintext_anywhere


def test_permission_for_plaintext_anywhere_alone_does_not_switch_tls_off(toml: Path) -> None:
    said = refusal(toml, '[uplink]\nendpoints = ["10.0.0.1:1"]\ninsecure_plaintext_anywhere = true')
    assert "uplink.ca: is missing" in said


def test_plaintext_by_the_environment_is_blamed_on_the_environment(toml: Path) -> None:
    said = refusal(toml, 'uplink.endpoints = ["a:1"]', {"GPUTALLY_UPLINK__INSECURE_PLAINTEXT": "true"})
    assert said.startswith("environment: GPUTALLY_UPLINK__INSECURE_PLAINTEXT: ")


def test_tls_needs_its_three_files_and_each_missing_one_is_named(toml: Path, authority: Authority) -> None:
    said = refusal(toml, f'[uplink]\nendpoints = ["a:1"]\nca = "{authority.ca}"')
    assert [line.split(": ")[1] for line in said.splitlines()] == ["uplink.certificate", "uplink.key"]


def test_no_endpoint_and_no_files_is_a_host_that_keeps_its_records(toml: Path) -> None:
    assert load(toml, "").uplink.endpoints == ()


def tls(ca: object, certificate: object, key: object, endpoint: str = "a:1") -> str:
    return f'[uplink]\nendpoints = ["{endpoint}"]\nca = "{ca}"\ncertificate = "{certificate}"\nkey = "{key}"\n'


def test_a_file_that_is_not_there_is_named_by_its_key(toml: Path, authority: Authority) -> None:
    certificate, _ = authority.issue("gpu-01")
    assert "uplink.key: there is no file /nowhere" in refusal(toml, tls(authority.ca, certificate, "/nowhere"))


def test_a_key_of_another_certificate_is_refused(toml: Path, authority: Authority) -> None:
    certificate, _ = authority.issue("gpu-01")
    _, other_key = authority.issue("gpu-02")
    assert "uplink.key: " in (said := refusal(toml, tls(authority.ca, certificate, other_key)))
    assert "is not the private key of" in said


@pytest.mark.parametrize("wrong", ["ca", "certificate", "key"])
def test_a_file_that_is_not_pem_is_named_by_its_key(toml: Path, authority: Authority, wrong: str) -> None:
    certificate, key = authority.issue("gpu-01")
    files = {"ca": authority.ca, "certificate": certificate, "key": key}
    files[wrong].write_text("no PEM")
    assert f"uplink.{wrong}: " in (said := refusal(toml, tls(files["ca"], files["certificate"], files["key"])))
    assert "in PEM form" in said


def test_an_encrypted_key_is_refused_and_nobody_is_asked_for_a_password(toml: Path, authority: Authority) -> None:
    certificate, key = authority.issue("gpu-01")
    key.write_bytes(authority.encrypted(b"secret"))
    assert "is encrypted" in refusal(toml, tls(authority.ca, certificate, key))


def test_a_credential_of_systemd_is_found_by_its_name(toml: Path, authority: Authority) -> None:
    certificate, key = authority.issue("gpu-01")
    environ = {"CREDENTIALS_DIRECTORY": str(authority.folder)}
    config = load(toml, tls("ca.pem", certificate.name, key.name), environ)
    assert (config.uplink.ca, config.uplink.key) == (str(authority.ca), str(key))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ('uplink.endpoints = ["http://a:1"]', 'uplink.endpoints: is "http://a:1", must be host:port'),
        ('host.id = "gpu 01"', 'host.id: is "gpu 01"'),
        ('attribution.plugins = ["kubernets"]', "attribution.plugins: no such plugin: kubernets"),
        ('[[attribution.rules]]\nmatch = { knd = "docker" }\ntenant = "a"', "attribution.rules: rule 1: "),
        ('telemetry.prometheus = "9464"', 'telemetry.prometheus: is "9464"'),
        ('telemetry.otlp = "127.0.0.1:4317"', 'telemetry.otlp: is "127.0.0.1:4317", must be http://'),
    ],
)
def test_keys_that_do_not_fit_are_named(toml: Path, text: str, said: str) -> None:
    assert said in refusal(toml, text)


def test_a_wrong_type_hides_nothing_that_is_wrong_elsewhere(toml: Path) -> None:
    text = """
    host.id = "gpu 01"
    sampling.every_s = "often"
    uplink = { endpoints = ["http://a:1", "b"], insecure_plaintext = "yes" }
    attribution.plugins = ["kubernets"]
    telemetry = { otlp = "127.0.0.1:4317", prometheus = "9464" }
    """
    said = refusal(toml, text, {"GPUTALLY_SAMPLING_DEADLINE_S": "1", "GPUTALLY_FOO__BAR": "1"})
    assert [line.split(": ")[1] for line in said.splitlines()] == [
        "GPUTALLY_FOO__BAR",
        "GPUTALLY_SAMPLING_DEADLINE_S",
        "sampling.every_s",
        "uplink.insecure_plaintext",
        "host.id",
        "uplink.endpoints",
        "uplink.endpoints",
        "attribution.plugins",
        "telemetry.otlp",
        "telemetry.prometheus",
    ]


def test_the_lease_file_is_read_too_and_its_problems_stand_beside_ours(toml: Path, tmp_path: Path) -> None:
    leases = tmp_path / "leases.toml"
    text = f'host.id = "gpu 01"\nleases.file = "{leases}"'
    assert f"{leases}: there is no such file" in refusal(toml, text)
    leases.write_text("[[leases]]\nid = 'a'\ndevices = ['*']\nfrom = 2026-11-01T00:00:00Z")
    assert [line.split(": ")[:3] for line in refusal(toml, text).splitlines()] == [
        [str(toml), "host.id", 'is "gpu 01", must be 1 to 255 printable ASCII characters without spaces'],
        [str(leases), "[[leases]] a", "tenant"],
    ]


@pytest.mark.parametrize("text", ["x = " + "9" * 5000, "x = " + "[" * 100_000])
def test_toml_that_python_cannot_hold_is_refused_like_any_other(toml: Path, text: str) -> None:
    assert "is not TOML that can be read" in refusal(toml, text)


def test_files_of_tls_are_looked_at_though_another_key_of_the_uplink_is_wrong(toml: Path, authority: Authority) -> None:
    certificate, _ = authority.issue("gpu-01")
    said = refusal(toml, tls(authority.ca, certificate, "/nowhere") + 'linger_s = "long"')
    assert [line.split(": ")[1] for line in said.splitlines()] == ["uplink.linger_s", "uplink.key"]
