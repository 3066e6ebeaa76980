"""A model that follows a script: the same prompt gives the same friendly comment, another text another one."""

import asyncio
import hashlib
import re

from playground.llm.models import ChatRequest, Completion


def _words(line: str) -> frozenset[str]:
    return frozenset(line.split())


_GERMAN = _words("der die das und ist nicht ich ein eine mit wir auf habe war dann auch den dem für sich")
_ENGLISH = _words("the and is not i a with we on have was then also of to in it you my for are")
_TITLE = re.compile(r"^\W*(?:article |the )?(?:title|titel|überschrift)\W*:\W*(.+)$", re.IGNORECASE | re.MULTILINE)
_QUOTED = re.compile('[„“«»"]([^„“”«»"\n]{3,80})[“”«»"]')
# A title with any of these could make the comment carry a link, an address or a number to call.
_UNSAFE = re.compile(r"https?|www|@|\.\w|/|\d{4}|[<>{}\[\]]", re.IGNORECASE)
_WORD = re.compile(r"\b[^\W\d_]{7,16}\b")

_OPENINGS = {
    "de": (
        "Dein Text{title} hat mir sehr gefallen.",
        "Danke für deinen Text{title}, ich habe ihn gern gelesen.",
        "Was für ein schöner Text{title}!",
        "Dein Text{title} hat mich neugierig gemacht.",
    ),
    "en": (
        "I really enjoyed reading your text{title}.",
        "Thank you for sharing your text{title} with us.",
        "What a lovely text{title}!",
        "Your text{title} made me curious.",
    ),
}
_DETAILS = {
    "de": (
        "Besonders gut finde ich die Stelle mit dem Wort «{word}», da sehe ich alles vor mir.",
        "Bei «{word}» musste ich genau hinschauen, das hast du anschaulich geschrieben.",
        "Man merkt bei «{word}», dass du dir Mühe gegeben hast.",
    ),
    "en": (
        "I liked the part with the word “{word}” best, because I could picture it.",
        "When you wrote “{word}”, I could see it right in front of me.",
        "The part about “{word}” shows how carefully you have watched.",
    ),
}
_QUESTIONS = {
    "de": (
        "Wie ging es danach weiter?",
        "Was hat dich dabei am meisten überrascht?",
        "Möchtest du noch mehr darüber schreiben?",
        "Was würdest du beim nächsten Mal anders machen?",
    ),
    "en": (
        "What happened next?",
        "What surprised you most?",
        "Would you like to write more about it?",
        "What would you do differently next time?",
    ),
}


class ScriptedModel:
    def __init__(self, latency: float) -> None:
        self._latency = latency

    async def complete(self, request: ChatRequest) -> Completion:
        await asyncio.sleep(self._latency)
        prompt = "\n".join(turn.content for turn in request.turns)
        tokens = comment_on(prompt).split(" ")
        kept = tokens[: request.max_tokens] if request.max_tokens else tokens
        return Completion(
            content=" ".join(kept),
            finish_reason="stop" if len(kept) == len(tokens) else "length",
            prompt_tokens=len(prompt.split()),
            completion_tokens=len(kept),
        )

    def close(self) -> None:
        """Nothing is held."""


def comment_on(prompt: str) -> str:
    """A comment of 60 to 400 characters on the text in a prompt, in its language."""
    language = "de" if _count(prompt, _GERMAN) > _count(prompt, _ENGLISH) else "en"
    digest = hashlib.sha256(prompt.encode("utf-8", "replace")).digest()
    title = title_in(prompt)
    called = {"de": f" «{title}»", "en": f" “{title}”"}[language] if title else ""
    opening = _pick(_OPENINGS[language], digest[0]).format(title=called)
    words = _WORD.findall(prompt) or ["Wolke" if language == "de" else "cloud"]
    # The text comes last in most prompts, so a word from the second half is likely the pupil's own.
    word = words[len(words) // 2 + digest[1] % (len(words) - len(words) // 2)]
    detail = _pick(_DETAILS[language], digest[2]).format(word=word)
    return f"{opening} {detail} {_pick(_QUESTIONS[language], digest[3])}"


def title_in(prompt: str) -> str | None:
    """The article's title, where the prompt names it and it is harmless."""
    for found in (*_TITLE.findall(prompt), *_QUOTED.findall(prompt)):
        title = " ".join(found.split()).strip(" \"'„“”«»*_.")[:80]
        if title and not _UNSAFE.search(title):
            return title
    return None


def _count(prompt: str, words: frozenset[str]) -> int:
    return sum(1 for word in prompt.lower().split() if word in words)


def _pick(choices: tuple[str, ...], number: int) -> str:
    return choices[number % len(choices)]
