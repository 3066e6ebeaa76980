"""What is decided about people without a database: names, roles, waits, where the console may listen, what is said."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from babel.messages.extract import extract_from_dir
from cryptography.fernet import Fernet
from hypothesis import example, given
from hypothesis import strategies as st
from jinja2 import StrictUndefined

from console.api.problems import problem_of
from console.pages.language import _asked_for, _messages, language
from console.pages.rendering import NAVIGATION, environment
from console.pages.sign_in import HOME, safe_next
from console.security import headers, serving, sessions
from console.security.signer import Signer
from lib.errors import Conflict, Invalid, NotFound, OutcomeUnknown, Permanent, Refused, Transient
from lib.people import names, passwords, roles, throttle, tokens
from lib.people.throttle import ACCOUNT, ADDRESS, Limit, wait_after
from lib.settings import Settings

PAGES = Path("console/pages")


# Roles and scopes


def test_each_role_may_what_the_lower_ones_may() -> None:
    assert [roles.at_least("operator", needed) for needed in roles.ROLES] == [True, True, False]


def test_a_scope_includes_the_lower_ones_and_a_token_is_never_more_than_its_owner() -> None:
    assert roles.scopes(["write"]) == {"read", "write"}
    assert roles.capped("admin", {"read"}) == "viewer"
    assert roles.capped("viewer", {"read", "write", "admin"}) == "viewer"
    assert roles.capped("operator", {"read", "write", "admin"}) == "operator"
    assert roles.capped("admin", {"something else"}) is None


@pytest.mark.parametrize("wrong", [[], ["root"], ["read", "root"]])
def test_unknown_scopes_are_refused(wrong: list[str]) -> None:
    with pytest.raises(Invalid) as refused:
        roles.scopes(wrong)
    assert refused.value.field == "scopes"


# Waits


@given(st.integers(0, 10_000), st.sampled_from([ACCOUNT, ADDRESS, Limit(0, 7), Limit(3, 1e9, first=60)]))
def test_a_wait_never_shrinks_and_never_lasts_for_good(failures: int, limit: Limit) -> None:
    assert 0 <= wait_after(failures, limit) <= wait_after(failures + 1, limit) <= limit.longest
    assert (wait_after(failures, limit) == 0) == (failures < limit.free)


def test_a_wait_doubles() -> None:
    assert [wait_after(ACCOUNT.free + more, ACCOUNT) for more in range(5)] == [1, 2, 4, 8, 16]


def test_one_key_holds_a_name_in_every_writing_and_a_whole_network_of_ipv6() -> None:
    assert throttle.account_key(" Ann ") == throttle.account_key("ann") != throttle.account_key("anna")
    assert throttle.address_key("2001:db8::1") == throttle.address_key("2001:db8::ffff:1")
    assert throttle.address_key("2001:db8::1") != throttle.address_key("2001:db8:0:1::1")
    assert throttle.address_key("::ffff:192.0.2.1") == throttle.address_key("192.0.2.1")
    assert throttle.address_key("testclient") != throttle.address_key("unknown")


# Names and passwords


@given(st.text(max_size=200))
@example("a\x00b")
@example("\u202egnp.exe")
@example("\ud800")
@example("x" * 5000)
@example("﷽" * 100)
def test_a_name_is_one_line_that_can_be_seen_or_is_refused(text: str) -> None:
    try:
        clean = names.clean(text)
    except Invalid:
        return
    assert clean == names.clean(clean)
    assert 0 < len(clean) <= names.LONGEST
    assert clean == clean.strip()
    assert clean.isprintable()


def test_a_name_does_not_look_like_an_id() -> None:
    with pytest.raises(Invalid, match="look like an id"):
        names.clean("0190a0b0-1111-7222-8333-444455556666")


@pytest.mark.parametrize(
    ("password", "why"),
    [
        ("short", "at least 12"),
        ("x" * 1001, "at most 1000"),
        ("aaaaaaaaaaaaaaaa", "repeats"),
        ("Annabel Lee!", "little more than it"),
        ("a\x07bcdefghijklmnop", "control character"),
    ],
)
def test_a_weak_password_is_refused_and_not_repeated(password: str, why: str) -> None:
    with pytest.raises(Invalid, match=why) as refused:
        passwords.check(password, "annabel lee")
    assert refused.value.field == "password"
    assert password not in str(refused.value)


async def test_a_password_is_salted_and_matches_in_every_normal_form() -> None:
    one, other = await passwords.hashed("crème brûlée!"), await passwords.hashed("crème brûlée!")
    assert one != other
    assert one.startswith("$argon2id$")
    assert await passwords.matches("cre\u0300me bru\u0302le\u0301e!", one)
    assert not await passwords.matches("creme brulee!", one)
    assert not await passwords.matches("the password of nobody", None)
    assert not await passwords.matches("anything", "no hash at all")
    assert not passwords.is_outdated(one)


def test_a_secret_is_not_in_its_own_description() -> None:
    made = tokens.new(tokens.PREFIX)
    assert made.text not in repr(made)
    assert made.hash == tokens.digest(made.text)
    assert len(made.text) > 40


# Sessions


def key() -> str:
    return Fernet.generate_key().decode()


def test_what_is_signed_opens_for_its_purpose_alone_and_after_a_rotation() -> None:
    old, new = key(), key()
    sealed = Signer([old]).seal("session", ["a", 1])
    assert Signer([new, old]).open("session", sealed) == ["a", 1]
    assert Signer([new, old]).open("flash", sealed) is None
    assert Signer([new]).open("session", sealed) is None
    assert Signer([old]).open("session", Signer([new, old]).seal("session", 1)) is None
    mark = Signer([old]).mark("csrf", "seed")
    assert Signer([new, old]).is_mark("csrf", "seed", mark)
    assert not Signer([old]).is_mark("csrf", "other", mark)
    assert not Signer([old]).is_mark("csrf", "seed", "üx" + mark)


@pytest.mark.parametrize("keys", [[], ["no key"], ["\xff"]])
def test_without_a_key_nothing_is_signed(keys: list[str]) -> None:
    with pytest.raises(Invalid, match="key"):
        Signer(keys)


@given(st.recursive(st.none() | st.integers() | st.floats() | st.text(), st.lists, max_leaves=8))
@example(["no id", 1, "seed", 0.0, 0.0])
def test_a_session_of_another_shape_is_none(value: object) -> None:
    assert sessions.from_value(value, Settings(), now=0) is None


def test_a_session_ends_when_nothing_happens_and_in_any_case() -> None:
    settings = Settings(console_session_hours=1, console_longest_session_hours=2)
    value = sessions.as_value(sessions.begin(uuid4(), 3, now=1000))
    hour = 3600
    assert sessions.from_value(value, settings, now=1000 + hour - 1) is not None
    assert sessions.from_value(value, settings, now=1000 + hour) is None
    value[4] = 1000 + 1.9 * hour  # seen again and again
    assert sessions.from_value(value, settings, now=1000 + 2 * hour - 1) is not None
    assert sessions.from_value(value, settings, now=1000 + 2 * hour) is None


# Where it listens

EVERYWHERE = "0.0.0.0"  # noqa: S104 - what must not be


def serving_settings(**more: object) -> Settings:
    return Settings(_env_file=None, **more)  # type: ignore[call-arg, arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.8.8.8"])
def test_this_machine_needs_nothing(host: str) -> None:
    serving.check(serving_settings(console_host=host))


@pytest.mark.parametrize("host", [EVERYWHERE, "::", "192.168.1.5", "console.example.com", ""])
def test_wider_needs_tls_or_a_proxy(host: str, tmp_path: Path) -> None:
    with pytest.raises((Invalid, ValueError), match=r"PRESSROOM_CONSOLE_TLS|console_host"):
        serving.check(serving_settings(console_host=host))
    if host:
        serving.check(serving_settings(console_host=host, console_trusted_proxies="10.0.0.1, 10.1.0.0/16"))
        pem = tmp_path / "pem"
        pem.touch()
        serving.check(serving_settings(console_host=host, console_tls_certificate=pem, console_tls_key=pem))


@pytest.mark.parametrize("proxy", ["*", "0.0.0.0/0", "::/0", "proxy.example.com"])
def test_everybody_is_no_proxy(proxy: str) -> None:
    with pytest.raises(Invalid, match="PRESSROOM_CONSOLE_TRUSTED_PROXIES"):
        serving.check(serving_settings(console_trusted_proxies=proxy))


def test_half_of_tls_is_refused(tmp_path: Path) -> None:
    with pytest.raises(Invalid, match="belong together"):
        serving.check(serving_settings(console_tls_certificate=tmp_path / "cert"))
    with pytest.raises(Invalid, match="There is no file"):
        serving.check(serving_settings(console_tls_certificate=tmp_path / "a", console_tls_key=tmp_path / "b"))


def test_without_a_proxy_nobody_says_where_they_come_from() -> None:
    assert serving.uvicorn_options(serving_settings())["proxy_headers"] is False
    options = serving.uvicorn_options(serving_settings(console_trusted_proxies="10.0.0.1"))
    assert options["forwarded_allow_ips"] == ["10.0.0.1"]


def test_hosts_are_named_as_a_browser_names_them() -> None:
    hosts = serving.allowed_hosts(
        serving_settings(console_host="fd00::5", console_allowed_hosts="a.example, b.example")
    )
    assert hosts == ["localhost", "127.0.0.1", "[::1]", "[fd00::5]", "a.example", "b.example"]
    assert EVERYWHERE not in serving.allowed_hosts(serving_settings(console_host=EVERYWHERE))
    assert serving_settings(console_host=EVERYWHERE).console_address == "http://127.0.0.1:8400"


# Where one is sent after signing in


@pytest.mark.parametrize("address", ["/", "/review?after=1#x", "/people/é", "/a//b"])
def test_a_page_of_ours_is_gone_back_to(address: str) -> None:
    assert safe_next(address) == address


@pytest.mark.parametrize(
    "address",
    [
        "//evil.example",
        "/\\evil.example",
        "\\\\evil.example",
        "https://evil.example/",
        "javascript:alert(1)",
        "/\t/evil.example",
        "/a\r\nSet-Cookie: x=y",
        "evil",
        "",
        "/" + "x" * 3000,
        "//[",
    ],
)
def test_nothing_else_is(address: str) -> None:
    assert safe_next(address) == HOME


# Errors


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("x"), 404),
        (Conflict("x"), 409),
        (Invalid("x"), 422),
        (throttle.Throttled("x", 1), 429),
        (Transient("x", 3), 424),
        (Refused("x"), 424),
        (Permanent("x"), 424),
        (OutcomeUnknown("x"), 424),
        (OSError("x"), 503),
        (ValueError("x"), 500),
    ],
)
def test_each_error_has_its_status(error: Exception, status: int) -> None:
    assert problem_of(error).status == status


# What is said


def extracted() -> set[str]:
    methods = [("**.html", "jinja2.ext:babel_extract"), ("**.py", "python")]
    options = {"**.html": {"trim_blocks": "true", "lstrip_blocks": "true"}}
    found: set[str] = set()
    for _, _, message, _, _ in extract_from_dir(str(PAGES), method_map=methods, options_map=options):
        found |= {message} if isinstance(message, str) else set(message[:1])
    return found


def test_every_text_is_there_in_german() -> None:
    translated = {each.id if isinstance(each.id, str) else each.id[0] for each in _messages("de") if not each.context}
    assert not (extracted() | {words for _, words, *_ in NAVIGATION} | set(roles.ROLES)) - translated


def test_a_translation_holds_the_same_values() -> None:
    german = language("de")
    value = re.compile(r"%\(\w+\)s")
    for text in extracted():
        assert sorted(value.findall(text)) == sorted(value.findall(german.gettext(text))), text


def test_an_error_is_said_in_german_with_its_values() -> None:
    german = language("de")
    assert german.sentence("There is a user “100 % <b>” already") == "Es gibt schon jemanden mit dem Namen «100 % <b>»"
    assert german.sentence("nobody translated this 100 %") == "nobody translated this 100 %"


@pytest.mark.parametrize(
    ("header", "code"),
    [
        ("", "en"),
        ("de", "de"),
        ("de-CH,de;q=0.9,en;q=0.8", "de"),
        ("fr-CH, fr;q=0.9, de;q=0.5, en;q=0.4", "de"),
        ("en-GB,en;q=0.9,de;q=0.8", "en"),
        ("de;q=0, en;q=0", "en"),
        ("de;q=x", "en"),
        (";;;,,,=", "en"),
        ("*", "en"),
    ],
)
def test_the_browser_chooses_the_language(header: str, code: str) -> None:
    assert _asked_for(header) == code


def test_times_and_numbers_are_the_languages_own() -> None:
    german = language("de")
    before = datetime.now(UTC) - timedelta(minutes=5)
    assert ">vor 5 Minuten<" in german.when(before)
    assert german.when(None) == ""
    assert german.number(1234.5) == "1.234,5"
    assert 'data-exact=""' in language("en").moment(before)


@pytest.mark.parametrize("code", ["en", "de"])
def test_templates_name_what_they_lack(code: str) -> None:
    assert environment(code).undefined is StrictUndefined
    assert environment(code).autoescape is True


def test_no_template_has_inline_script_style_or_handler() -> None:
    inline = re.compile(
        r"<script(?![^>]*\bsrc=)|<style|\sstyle=|\son\w+=|javascript:|hx-on|hx-vals=['\"]js:", re.IGNORECASE
    )
    for template in (PAGES / "templates").glob("*.html"):
        assert not inline.search(template.read_text()), template


def test_the_policy_lets_nothing_in_from_elsewhere() -> None:
    assert "unsafe" not in headers.POLICY
    assert headers.POLICY.startswith("default-src 'none'")
