"""Signatures, as the independent implementation of Standard Webhooks checks them, and what may be reported."""

import base64
import json
import secrets
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr, ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from deployments import automations
from lib import work
from lib.alerts import delivery, relay, signing
from lib.alerts.causes import KINDS, Report
from lib.alerts.store import Delivery
from lib.errors import Invalid
from lib.settings import Settings
from tests.receiver import new_secret

URL = SecretStr("https://alerts.example/hook?key=hidden")


def delivery_of(title: str = "The flow discover_articles failed", **details: Any) -> Delivery:
    now = datetime(2026, 1, 2, 3, 4, tzinfo=UTC)
    ids = [work.new_id() for _ in range(3)]
    return Delivery(ids[0], ids[1], ids[2], 1, 0, "flow_run.failed", "discover_articles", title, details, now)


def set_up(**values: Any) -> Settings:
    return Settings(database_url=None, **({"alert_webhook_secret": None} | values))


# Signatures


def test_the_standards_own_example_is_signed_as_it_says() -> None:
    secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
    (key,) = signing.read_secrets(secret)
    body = b'{"test": 2432232314}'
    signed = signing.headers([key], "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, body)
    assert signed["webhook-signature"] == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


@given(st.text(), st.text(min_size=1))
def test_the_other_implementation_accepts_what_we_sign(title: str, detail: str) -> None:
    secret = new_secret()
    message = delivery_of(title.encode("utf-8", "ignore").decode(), error=detail.encode("utf-8", "ignore").decode())
    body = delivery.body_of(message)
    signed = signing.headers(signing.read_secrets(secret), str(message.id), int(time.time()), body)
    assert Webhook(secret).verify(body, signed) == json.loads(body)


@pytest.mark.parametrize("changed", ["body", "webhook-id", "webhook-timestamp", "webhook-signature"])
def test_whatever_is_changed_on_the_way_is_noticed(changed: str) -> None:
    secret, body = new_secret(), b'{"type":"stage.silent"}'
    signed = signing.headers(signing.read_secrets(secret), "one", int(time.time()), body)
    if changed == "body":
        body += b" "
    else:
        others = {"webhook-id": "two", "webhook-timestamp": str(int(time.time()) - 1)}
        signed[changed] = others.get(changed, "v1," + base64.b64encode(secrets.token_bytes(32)).decode())
    with pytest.raises(WebhookVerificationError):
        Webhook(secret).verify(body, signed)


def test_while_secrets_change_a_receiver_may_hold_either() -> None:
    new, old, other = (new_secret() for _ in range(3))
    keys = signing.read_secrets(f"{new}, {old}")
    signed = signing.headers(keys, "one", int(time.time()), b"{}")
    assert len(signed["webhook-signature"].split()) == 2
    for secret in (new, old):
        Webhook(secret).verify("{}", signed)
    with pytest.raises(WebhookVerificationError):
        Webhook(other).verify("{}", signed)


@pytest.mark.parametrize(
    "wrong",
    ["", " , ", "hunter2-hunter2-hunter2", "whsec_", "whsec_***", "whsec_c2hvcnQ=", "whsec_" + "A" * 92],
)
def test_a_secret_that_cannot_be_one_is_refused_and_never_repeated(wrong: str) -> None:
    with pytest.raises(Invalid, match="PRESSROOM_ALERT_WEBHOOK_SECRET") as refused:
        signing.read_secrets(wrong)
    assert not wrong.strip(" ,") or wrong == "whsec_" or wrong not in str(refused.value)
    assert refused.value.__cause__ is None


# Where they go


def test_without_an_address_there_is_no_endpoint() -> None:
    assert delivery.endpoint(set_up(alert_webhook_url=None)) is None
    assert delivery.endpoint(set_up(alert_webhook_url=SecretStr(""))) is None


@pytest.mark.parametrize(
    "wrong", ["alerts.example", "ftp://alerts.example", "https://", "http://x:port", "file:///etc"]
)
def test_an_address_that_cannot_be_one_is_refused_by_the_name_of_its_setting(wrong: str) -> None:
    settings = set_up(alert_webhook_url=SecretStr(wrong), alert_webhook_secret=SecretStr(new_secret()))
    with pytest.raises(Invalid, match="PRESSROOM_ALERT_WEBHOOK_URL"):
        delivery.endpoint(settings)


def test_an_address_without_a_secret_is_refused() -> None:
    with pytest.raises(Invalid, match="PRESSROOM_ALERT_WEBHOOK_SECRET"):
        delivery.endpoint(set_up(alert_webhook_url=URL))


def test_neither_the_address_nor_the_secret_is_ever_shown() -> None:
    secret = new_secret()
    settings = set_up(alert_webhook_url=URL, alert_webhook_secret=SecretStr(secret))
    shown = repr(settings) + repr(delivery.endpoint(settings))
    assert "hidden" not in shown
    assert secret not in shown
    assert "alerts.example" in shown


def test_each_attempt_sends_the_same_bytes() -> None:
    message = delivery_of(error="Zeit überschritten")
    assert delivery.body_of(message) == delivery.body_of(message)
    assert json.loads(delivery.body_of(message)) == {
        "type": "flow_run.failed",
        "timestamp": "2026-01-02T03:04:00+00:00",
        "data": {
            "title": "The flow discover_articles failed",
            "subject": "discover_articles",
            "details": {"error": "Zeit überschritten"},
        },
    }


# The relay


def test_the_relays_secret_is_made_once_for_the_owner_only_and_compared_whole(tmp_path: Path) -> None:
    settings = set_up(data_dir=tmp_path / "new")
    secret = relay.relay_secret(settings)
    assert relay.relay_secret(settings) == secret
    (file,) = (tmp_path / "new").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600
    assert relay.is_ours(settings, f"Bearer {secret}")
    for wrong in (None, "", "Bearer ", secret, f"Bearer {secret[:-1]}", f"Bearer {secret} ", "Bearer é"):
        assert not relay.is_ours(settings, wrong)


def test_a_relay_secret_that_could_be_guessed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="PRESSROOM_ALERT_RELAY_SECRET"):
        relay.relay_secret(set_up(data_dir=tmp_path, alert_relay_secret=SecretStr("short")))
    (tmp_path / "alert-relay.secret").write_text("\n")
    with pytest.raises(Invalid, match="shorter than"):
        relay.relay_secret(set_up(data_dir=tmp_path))


def report(**changed: Any) -> dict[str, Any]:
    return {"cause": {"kind": "stage.silent", "subject": "discover_articles", "title": "Silent"} | changed}


@pytest.mark.parametrize(
    "wrong",
    [
        {"kind": "made.up"},
        {"subject": ""},
        {"subject": "x" * 201},
        {"title": ""},
        {"episode": "x" * 101},
        {"details": {"nested": {"too": "deep"}}},
        {"details": {str(number): 1 for number in range(31)}},
        {"owner": "nobody"},
    ],
)
def test_a_report_that_is_none_is_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Report.model_validate(report(**wrong))


def test_long_texts_are_cut_rather_than_refused() -> None:
    cause = Report.model_validate(report(title="t" * 5000, details={"message": "m\x00" * 5000})).cause
    assert len(cause.title) == 300
    assert len(str(cause.details["message"])) == 500
    assert "\x00" not in str(cause.details["message"])


# The automations' files


def test_every_kind_of_cause_has_an_automation_that_reports_it() -> None:
    told = "\n".join(f"{each.trigger.expect} {each.payload}" for each in automations.load())
    assert [kind for kind in KINDS if f"pressroom.{kind}'" not in told and f'"{kind}"' not in told] == []


def test_an_unknown_key_in_an_automations_file_is_refused(tmp_path: Path) -> None:
    text = (automations.FOLDER / "stage-silent.yaml").read_text()
    for wrong in (text.replace("posture:", "posturre:"), text + "active: true\n"):
        (tmp_path / "one.yaml").write_text(wrong)
        with pytest.raises(ValueError, match=r"posturre|active"):
            automations.load(tmp_path)


def test_a_stage_of_a_long_interval_is_given_several_of_them() -> None:
    (watch,) = (each for each in automations.load() if each.trigger.posture.value == "Proactive")
    for interval, seconds in ((15, 900), (180, 900), (600, 3000)):
        made = watch.automation(work.new_id(), set_up(stage_interval=interval))
        assert made.trigger.within.total_seconds() == seconds  # type: ignore[union-attr]
