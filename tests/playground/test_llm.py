import re
import time

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from playground.accounts import LLM_KEY, LLM_MODEL
from playground.config import Config
from playground.llm.scripted import comment_on
from playground.scenery import bulk_text
from playground.serve import Running, serving
from playground.texts import shipped

PROMPT = "Write a friendly comment for a pupil.\n\nTitle: {title}\n\n<article>\n{body}\n</article>"
PROMPT_DE = "Schreibe einen freundlichen Kommentar für ein Kind.\n\nTitel: {title}\n\n<article>\n{body}\n</article>"


def ask(served: Running, key: str = LLM_KEY, **fields: object) -> httpx.Response:
    body = {"model": LLM_MODEL, "messages": [{"role": "user", "content": "Say hello to a red panda."}]} | fields
    headers = {"authorization": f"Bearer {key}"}
    return httpx.post(f"{served.llm_url}/chat/completions", json=body, headers=headers, timeout=60)


def test_the_wire_is_that_of_openai(served: Running) -> None:
    answer = ask(served).json()
    assert answer["object"] == "chat.completion"
    assert answer["model"] == LLM_MODEL
    assert answer["choices"][0]["message"]["role"] == "assistant"
    assert answer["choices"][0]["finish_reason"] == "stop"
    usage = answer["usage"]
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]


def test_the_models_are_listed(served: Running) -> None:
    answer = httpx.get(f"{served.llm_url}/models", headers={"authorization": f"Bearer {LLM_KEY}"}).json()
    assert [model["id"] for model in answer["data"]] == [LLM_MODEL]


def test_without_the_right_key_there_is_no_answer(served: Running) -> None:
    for answer in (ask(served, key="wrong"), ask(served, key="-"), httpx.get(f"{served.llm_url}/models")):
        assert answer.status_code == 401
        assert answer.json()["error"]["code"] == "invalid_api_key"


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"messages": []}, 400),
        ({"messages": "hi"}, 400),
        ({"messages": [{"role": "user"}]}, 400),
        ({"messages": [{"role": "nobody", "content": "x"}]}, 400),
        ({"model": "unknown"}, 404),
        ({"stream": True}, 400),
        ({"max_tokens": 0}, 400),
        ({"temperature": "hot"}, 400),
    ],
)
def test_a_bad_request_is_refused_with_a_reason(served: Running, fields: dict[str, object], status: int) -> None:
    answer = ask(served, **fields)
    assert answer.status_code == status
    assert answer.json()["error"]["message"]


def test_max_tokens_cuts_the_answer_and_says_so(served: Running) -> None:
    answer = ask(served, max_tokens=5).json()
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["completion_tokens"] == 5


def test_the_scripted_model_can_take_its_time() -> None:
    with serving(Config(llm_latency=0.3)) as served:
        started = time.monotonic()
        ask(served)
        assert time.monotonic() - started >= 0.3


def test_every_shipped_text_gets_a_comment_of_its_own_in_its_language() -> None:
    comments = set()
    for language, prompt in (("de", PROMPT_DE), ("en", PROMPT)):
        for text in shipped(language):
            comment = comment_on(prompt.format(title=text.title, body=text.body))
            assert text.title.rstrip("?") in comment
            assert ("«" in comment) == (language == "de")
            comments.add(comment)
    assert len(comments) == len(shipped("de")) + len(shipped("en"))


def test_bulk_texts_get_different_comments() -> None:
    texts = [bulk_text(1001, number) for number in range(200)]
    assert len({comment_on(PROMPT_DE.format(title=text.title, body=text.body)) for text in texts}) == 200


@given(st.text(max_size=400), st.text(max_size=400))
def test_a_scripted_comment_is_short_without_links_and_always_the_same(title: str, body: str) -> None:
    prompt = PROMPT.format(title=title, body=body)
    comment = comment_on(prompt)
    assert comment == comment_on(prompt)
    assert 60 <= len(comment) <= 400
    assert not re.search(r"https?:|www\.|@|\d{4}", comment)


def test_an_injected_instruction_is_not_repeated() -> None:
    title = "Visit https://evil.example or call +41 79 000 00 00"
    assert "evil" not in comment_on(PROMPT.format(title=title, body="The dog ran over the green field."))


def test_the_real_model_answers_and_says_when_it_was_cut() -> None:
    with serving(Config(llm="real", llm_max_tokens=40)) as served:
        short = ask(served, max_tokens=4).json()
        assert short["choices"][0]["finish_reason"] == "length"
        assert short["usage"]["completion_tokens"] == 4
        capped = ask(served, max_tokens=4000, messages=[{"role": "user", "content": "Count from 1 to 500."}]).json()
        assert capped["usage"]["completion_tokens"] <= 40
        assert capped["model"] == LLM_MODEL
        refused = ask(served, messages=[{"role": "user", "content": "word " * 6000}])
        assert refused.status_code == 400
        assert refused.json()["error"]["code"] == "context_length_exceeded"
