"""A wrong collector.toml is refused before anything is touched."""

from pathlib import Path

import pytest

from gputally.collector.config import CollectorConfig, SkuConfig
from gputally.collector.loading import load_collector_config
from gputally.model.settings import BadSettings

from ..certificates import make_authority

PLAIN = 'intake = { listen = "127.0.0.1:0", insecure_plaintext = true }\n'


@pytest.fixture
def toml(tmp_path: Path) -> Path:
    return tmp_path / "collector.toml"


def load(toml: Path, text: str) -> CollectorConfig:
    toml.write_text(text)
    return load_collector_config(toml, {})


def refusal(toml: Path, text: str) -> str:
    with pytest.raises(BadSettings) as refused:
        load(toml, text)
    return str(refused.value)


def test_plaintext_on_loopback_needs_nothing_else(toml: Path) -> None:
    config = load(toml, PLAIN + '[[skus]]\nname = "Large"\ngpu_model = "NVIDIA H100*"')
    assert config.skus == (SkuConfig("Large", "NVIDIA H100*"),)


def test_plaintext_for_everybody_is_refused(toml: Path) -> None:
    said = refusal(toml, 'intake = { listen = "0.0.0.0:7443", insecure_plaintext = true }')
    assert "intake.insecure_plaintext: is true and intake.listen (0.0.0.0:7443) is not on loopback" in said


def test_an_intake_without_files_of_tls_is_refused(toml: Path) -> None:
    assert [line.split(": ")[1] for line in refusal(toml, "").splitlines()] == [
        "intake.ca",
        "intake.certificate",
        "intake.key",
    ]


def test_an_intake_with_its_three_files_is_good(toml: Path, tmp_path: Path) -> None:
    authority = make_authority(tmp_path)
    certificate, key = authority.issue("collector")
    files = f'ca = "{authority.ca}"\ncertificate = "{certificate}"\nkey = "{key}"'
    assert load(toml, f"[intake]\n{files}").intake.key == str(key)


def test_an_api_that_others_can_reach_needs_tokens(toml: Path, tmp_path: Path) -> None:
    far = PLAIN + 'api.listen = "0.0.0.0:8080"\n'
    assert "api.tokens: is missing and api.listen (0.0.0.0:8080) is not on loopback" in refusal(toml, far)
    tokens = tmp_path / "tokens.toml"
    assert "api.tokens: " in refusal(toml, far + f'api.tokens = "{tokens}"')
    tokens.write_text("= no TOML")
    assert "is not TOML" in refusal(toml, far + f'api.tokens = "{tokens}"')
    tokens.write_text("")
    assert load(toml, far + f'api.tokens = "{tokens}"').api.tokens == str(tokens)


def test_an_sku_that_names_one_model_twice_is_refused(toml: Path) -> None:
    sku = '[[skus]]\nname = "Large"\ngpu_model = "x"\n'
    assert 'skus: "Large" names x 2 times' in refusal(toml, PLAIN + sku * 2)


def test_an_address_that_is_none_is_named(toml: Path) -> None:
    text = 'intake = { listen = "7443", insecure_plaintext = true }\napi.listen = "localhost"'
    assert [line.split(": ")[1] for line in refusal(toml, text).splitlines()] == ["intake.listen", "api.listen"]


def test_an_sku_may_not_be_called_what_models_without_one_are_called(toml: Path) -> None:
    said = refusal(toml, PLAIN + '[[skus]]\nname = "unassigned"\ngpu_model = "x"\n')
    assert 'skus: "unassigned" is reserved' in said


def test_a_wrong_type_hides_nothing_that_is_wrong_elsewhere(toml: Path) -> None:
    text = """
    intake = { listen = 7443, insecure_plaintext = true }
    ledger.path = 1
    api = { listen = "0.0.0.0:8080", tokens = "/nowhere" }
    skus = [{ name = 3, gpu_model = "x" }, { gpu_model = "x" }, { name = "unassigned", gpu_model = "*" }]
    """
    assert [line.split(": ")[1] for line in refusal(toml, text).splitlines()] == [
        "intake.listen",
        "ledger.path",
        "[[skus]] number 1",
        "[[skus]] number 2",
        "api.tokens",
        "skus",
    ]


def test_nothing_is_said_of_the_default_of_a_key_that_could_not_be_read(toml: Path) -> None:
    for text, keys in (
        ("intake = 3", ["intake"]),
        ('intake.insecure_plaintext = "true"', ["intake.insecure_plaintext"]),
        (PLAIN + 'api = { listen = "0.0.0.0:8080", tokens = 5 }', ["api.tokens"]),
    ):
        assert [line.split(": ")[1] for line in refusal(toml, text).splitlines()] == keys
