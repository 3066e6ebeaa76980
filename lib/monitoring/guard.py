"""What a model answered, made into a comment or turned away: children read it, and an article may have led it."""

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from lib.errors import Transient
from lib.monitoring.prompt import Prompt

PREFIX = "[Dieser Kommentar stammt von einem KI-ChatBot.]"
ECHO_WORDS = 8
ECHO_CHARS = 60
ABSURD = 10  # times the maximum: not worth the search for what else is wrong

Rule = Literal["too_short", "too_long", "cut_off", "link", "contact", "prompt_echo", "invisible", "html"]


@dataclass(frozen=True)
class Finding:
    """One reason why an answer cannot be posted: the rule, and what broke it."""

    rule: Rule
    detail: str


@dataclass(frozen=True)
class Verdict:
    """The comment that an answer makes, and all that speaks against posting it, of every rule."""

    comment: str
    findings: tuple[Finding, ...]


class Rejected(Transient):
    """The model's answer cannot be posted; another one may be better."""

    def __init__(self, findings: tuple[Finding, ...]) -> None:
        super().__init__("The model's answer was turned away: " + "; ".join(finding.detail for finding in findings))
        self.findings = findings


def examine(answer: str, finish_reason: str, prompt: Prompt, *, minimum: int = 50, maximum: int = 5000) -> Verdict:
    """What an answer becomes, with its disclosure, and what speaks against it.

    An answer that broke off is cut back to its last whole sentence if what is left is long enough. What is cut off
    is looked at all the same: an answer that ends in a link was led there.
    """
    if len(answer) > maximum * ABSURD:
        return Verdict(answer[:maximum], tuple(_length(answer, minimum, maximum)))
    said = text = clean(_unwrapped(answer, prompt.boundary))
    if finish_reason == "length" or not _ends_well(said):
        whole = trim_to_sentence(said)
        text = whole if len(whole) >= minimum else said
    return Verdict(with_prefix(text), (*_form(text, finish_reason, minimum, maximum), *_content(said, prompt)))


def check(
    answer: str, *, finish_reason: str, prompt: Prompt, minimum: int = 50, maximum: int = 5000
) -> tuple[Finding, ...]:
    """Everything that speaks against posting an answer as it is. Lengths are without the disclosure."""
    return (*_form(answer, finish_reason, minimum, maximum), *_content(answer, prompt))


def _form(answer: str, finish_reason: str, minimum: int, maximum: int) -> Iterator[Finding]:
    yield from _length(answer, minimum, maximum)
    yield from _cut(answer, finish_reason)


def _content(answer: str, prompt: Prompt) -> Iterator[Finding]:
    yield from _shown(answer, "link", "a link", _LINKS)
    yield from _shown(answer, "contact", "contact data or an invitation to it", _CONTACTS)
    yield from _echo(answer, prompt)
    yield from _shown(answer, "html", "markup", _MARKUP)
    yield from _invisible(answer)


def with_prefix(text: str) -> str:
    """A comment that begins with the disclosure, once; as a paragraph of its own where the comment is HTML."""
    body = text.strip()
    while found := re.match(rf"(?:<p>)?{re.escape(PREFIX)}(?:</p>)?\s*", body):
        body = body[found.end() :]
    return f"<p>{PREFIX}</p>{body}" if re.match(r"<[a-zA-Z]", body) else f"{PREFIX} {body}".strip()


# Cleaning

_ZERO_WIDTH_JOINER = "\u200d"  # holds a family of emoji together
_PLAIN_TAG = re.compile(r"<(/?)(p|br|b|i|em|strong)\s*/?>", re.IGNORECASE)
_OWN_PREFIX = re.compile(
    r"[\s\[(*_>\"„“«]*die(?:ser|ses|se)\s+(?:kommentar|antwort|text)\s+(?:stammt|ist|wurde|kommt)\s+von\s+einem\s+"
    r"ki[\s-]*chat[\s-]*bot[\s.!:]*[\])*_]*[\s.:–-]*",
    re.IGNORECASE,
)
_QUOTES = (('"', '"'), ("„", "“"), ("„", "”"), ("“", "”"), ("«", "»"), ("»", "«"), ("'", "'"), ("‚", "‘"), ("‘", "’"))


def clean(answer: str) -> str:
    """Without invisible characters, harmless formatting tags, quotes around it all, and a disclosure of its own."""
    text = "".join(char for char in answer.replace("\t", " ") if char == "\n" or not _is_invisible(char))
    text = _PLAIN_TAG.sub(lambda tag: "\n" if tag[2].lower() in ("p", "br") else "", text)
    text = re.sub(r"\n[ \n]*\n", "\n\n", text).strip()
    while (bare := _unquoted(_OWN_PREFIX.sub("", text, count=1) if _OWN_PREFIX.match(text) else text)) != text:
        text = bare
    return text


def _unwrapped(answer: str, boundary: str) -> str:
    """Without marks of the fence at either end, which a small model copies; within the text they are an echo."""
    mark = rf"\(?(?:-+ )?/?{boundary}/?(?: -+)?\)?"
    return re.sub(rf"^(?:\s*{mark})+|(?:{mark}\s*)+$", "", answer)


def _unquoted(text: str) -> str:
    for first, last in _QUOTES:
        inner = text[1:-1]
        if len(text) > 1 and text[0] == first and text[-1] == last and first not in inner and last not in inner:
            return inner.strip()
    return text.strip()


def _is_invisible(char: str) -> bool:
    return unicodedata.category(char) in ("Cc", "Cf", "Cs", "Co", "Cn") and char != _ZERO_WIDTH_JOINER


# Sentences

_CLOSERS = "\"”“»«’‘')]*_ \n"
_EMOTICON = re.compile(r"(?:[:;=8]-?[)(DPp*]|<3|\^\^|\bxD)$")
_SIGN_OFF = re.compile(
    r"(?:^|[.!?…,\n])\s*(?:(?:liebe|viele|herzliche|beste|freundliche|schöne|ganz liebe)\s+gr(?:ü|ue)(?:ss|ß)e|lg|vg"
    r"|bis bald|alles (?:gute|liebe)|weiter so|deine?|best wishes|kind regards|regards|cheers|yours|sincerely|love)"
    r"\b[^.!?\n]{0,40}(?:\n[^.!?\n]{0,40})?$",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"[.!?…]+[\"”“»«’‘')\]*_]*(?:\s?[\U0001f300-\U0001faff\u2600-\u27bf\ufe0f\u200d]+)?(?=\s|$)")
_NO_END = re.compile(
    r"(?:^|[\s(])(?:[A-Za-zÄÖÜäöü](?:\.\s?[A-Za-z])?|z\.\s?B|usw|bzw|ca|Nr|Dr|Prof|Fr|Hr|St|vgl|evtl|inkl|ggf|Mr|Mrs|Ms|etc|vs"
    r"|e\.g|i\.e|\d{1,2})\.$"
)


def trim_to_sentence(text: str) -> str:
    """Up to the end of the last whole sentence; empty if there is none."""
    ends = [end.end() for end in _SENTENCE_END.finditer(text) if not _NO_END.search(text[: end.end()][-12:])]
    return text[: ends[-1]] if ends else ""


def _ends_well(text: str) -> bool:
    bare = text.rstrip(_CLOSERS)
    if not bare:
        return False
    is_symbol = unicodedata.category(bare[-1]) in ("So", "Sk") or bare[-1] in "\ufe0f\u200d"
    return bare[-1] in ".!?…" or is_symbol or bool(_EMOTICON.search(text.rstrip()) or _SIGN_OFF.search(bare))


def _cut(answer: str, finish_reason: str) -> Iterator[Finding]:
    if finish_reason == "content_filter":
        yield Finding("cut_off", "the model's own filter withheld a part")
    elif not _ends_well(answer) or (finish_reason == "length" and trim_to_sentence(answer) != answer):
        yield Finding("cut_off", f"it breaks off before a sentence ends (“…{answer[-30:]}”)")


def _length(answer: str, minimum: int, maximum: int) -> Iterator[Finding]:
    if len(answer) < minimum:
        yield Finding("too_short", f"it has {len(answer)} characters, fewer than {minimum}")
    if len(answer) > maximum:
        yield Finding("too_long", f"it has {len(answer):,} characters, more than {maximum:,}")


# Links and contact data

_CLEAR = (
    "com|net|org|edu|gov|biz|ch|de|li|eu|uk|io|fr|nl|pl|cz|ru|cn|jp|xyz|ly|gg|tv|cc|tk|ml|gq|pw|icu|gl|goo|zip|mov"
    "|example|test|invalid|onion|website|mobi|chat|bot|рф|xn--[a-z0-9-]+"
)
# Words too, so only in small letters: "so war es.It" and "Toll.Me" are missing spaces.
_WORDY = (
    "me|to|at|it|be|us|co|info|app|dev|link|click|live|life|world|today|space|store|tech|fun|cool|pro|page|site"
    "|online|shop|club|top|vip|win|art|ai|news|blog|game|games|team|zone|sh|so"
)
_LINKS = tuple(
    re.compile(pattern)
    for pattern in (
        r"(?i)\b[a-z][a-z0-9+.-]{1,20}\s*:\s*[/\\]\s*[/\\]",
        r"(?i)\b(?:https?|hxxps?)\b",
        r"(?i)\bwww\s*[.\[(]",
        r"(?i)\b(?:mailto|javascript|tel|sms|data|vbscript):(?=\S)",
        rf"(?i)\b[\w-]{{1,63}}\.(?:{_CLEAR})\b",
        rf"\b[\w-]{{1,63}}\.(?:{_WORDY})\b",
        rf"(?i)\b[\w-]{{1,63}}\s+\.\s*(?:{_CLEAR})\b",
        r"\b[\w-]{2,63}\.\s+(?:com|net|org|ch)\b",
        r"\b[\w-]{2,63}\.[a-z]{2,24}/\S",
        r"(?i)\w\s*[\[({<]\s*(?:dot|punkt|point|\.)\s*[\])}>]\s*\w",
        rf"(?i)\b[\w-]{{1,63}}\s+(?:dot|punkt)\s+(?:{_CLEAR})\b",
        r"\]\(|!\[|(?m:^\s*\[[^\]\n]+\]:)",
        r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.])",
        r"(?i)%2[ef]",
    )
)
_APPS = (
    r"(?:whats\s?app|snap(?:chat)?|insta(?:gram)?|telegram|tik\s?tok|discord|signal|skype|threema|facebook|roblox|kik)"
)
_DIGIT = (
    "(?:null|eins?|zwei|zwo|drei|vier|fünf|sechs|sieben|acht|neun|zero|oh|one|two|three|four|five|six|seven|eight|nine)"
)
_SAME_SENTENCE = r"\b[^.!?\n]{0,60}\b"
_TO_ME_DE = r"\b(?:schreibe?|folge?|adde?|kontaktiere?|suche?|melde?|ruf|finde)\s+(?:mir|mich|dich|uns)"
_TO_ME_EN = (
    r"\b(?:text|message|write|follow|add|contact|call|find|join|reach|(?:chat|talk) (?:to|with))\s+(?:to\s+)?(?:me|us)"
)
_ASK = r"\b(?:schick|sende?|gib|schreib|nenn|verrat|sag|send|give|tell)\w*"
_PRIVATE = r"(?:\w*nummer|(?:wohn)?adresse|e-?mail\S*|passwort|phone|number|address|password)"
_CONTACTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"[\w.+-]\s?@\s?[\w-]{1,63}\.\w",
        r"(?<!\w)@\s?\w[\w.]",
        r"\w\s*[\[({<]\s*(?:at|ät|@|klammeraffe)\s*[\])}>]\s*\w",
        r"\b[\w.-]{1,63}\s+(?:at|ät)\s+[\w-]{1,63}\s+(?:dot|punkt)\s+\w",
        # International, Swiss and German ways to write a number, and any ten digits in small groups
        r"(?:\+|(?<!\d)00)\s?[1-9]\d{0,2}[\s()/.-]{0,3}(?:\d[\s()/.-]{0,3}){6}",
        r"(?<![\d.,])0[1-9]\d{1,3}[\s/.-]?\d{2,4}(?:[\s/.-]?\d{2,4}){1,3}(?!\d)",
        r"(?<![\d.,])(?!\d{1,3}(?:[ ']\d{3})+(?!\d))\d(?:[\s/-]?\d){9,}(?![.,]?\d)",
        rf"\b{_DIGIT}(?:[\s,-]{{1,3}}{_DIGIT}){{8}}\b",
        _TO_ME_DE + _SAME_SENTENCE + _APPS,
        _TO_ME_EN + _SAME_SENTENCE + _APPS,
        rf"\b(?:dm|pm|{_APPS})\s+(?:me|mir|mich)\b",
        rf"\b(?:auf|über|per|via|on)\s+{_APPS}{_SAME_SENTENCE}(?:schreiben|chatten|adden|folgen|hinzufügen)\b",
        rf"\b(?:meine?n?|my)\s+{_APPS}\b",
        rf"{_ASK}{_SAME_SENTENCE}(?:deine?n?|your)\s+(?:\w{{1,30}}\s+)?{_PRIVATE}\b",
        r"\b(?:treffen wir uns|wollen wir uns treffen|meet me)\b",
        r"\blet'?s meet(?=\s*(?:[.!?,]|$|(?:up|after|at|tomorrow|today|tonight|soon|outside|online)\b))",
    )
)
_MARKUP = (
    re.compile(r"<\s*[/!?]?\s*[a-zA-Z!|｜?][^>]*>?"),
    re.compile(r"(?i)&(?:lt|#0*60|#x0*3c);?|\[/?INST\]|<</?SYS"),
)
_DOTS = str.maketrans({"。": ".", "｡": ".", "․": ".", "∙": ".", "⁄": "/", "∕": "/"})


def _shown(answer: str, rule: Rule, what: str, patterns: tuple[re.Pattern[str], ...]) -> Iterator[Finding]:
    """What a reader would see: look-alike characters folded, invisible ones away."""
    seen = unicodedata.normalize("NFKC", "".join(char for char in answer if char == "\n" or not _is_invisible(char)))
    seen = seen.translate(_DOTS)
    found = next(filter(None, (pattern.search(seen) for pattern in patterns)), None)
    if found:
        yield Finding(rule, f"it holds {what} (“{found[0].strip()[:60]}”)")


def _invisible(answer: str) -> Iterator[Finding]:
    if any(char != "\n" and _is_invisible(char) for char in answer):
        yield Finding("invisible", "it holds control or invisible characters")


# Echo


# A mark of the fence, copied wrongly
_MARK_LIKE = re.compile(r"\b(?=[a-f]*[0-9])(?=[0-9]*[a-f])[0-9a-f]{9,}\b", re.IGNORECASE)


def _echo(answer: str, prompt: Prompt) -> Iterator[Finding]:
    """Our own words, said back. The article's may be quoted, so they are not among them."""
    if prompt.boundary.lower() in answer.lower() or _MARK_LIKE.search(answer):
        yield Finding("prompt_echo", "it repeats the fence around the article")
        return
    said = _words(answer)
    own = [_words(prompt.system), _words(prompt.template)]
    runs = {run for words in own for run in _runs(words)}
    stretches = {stretch for words in own for stretch in _stretches(words)}
    repeated = next((" ".join(run) for run in _runs(said) if run in runs), None)
    repeated = repeated or next((stretch for stretch in _stretches(said) if stretch in stretches), None)
    if repeated:
        yield Finding("prompt_echo", f"it repeats its instructions (“{repeated[:60]}…”)")


def _words(text: str) -> list[str]:
    return re.findall(r"\w+", unicodedata.normalize("NFKC", text).casefold())


def _runs(words: list[str]) -> Iterator[tuple[str, ...]]:
    return (tuple(words[start : start + ECHO_WORDS]) for start in range(len(words) - ECHO_WORDS + 1))


def _stretches(words: list[str]) -> Iterator[str]:
    line = " ".join(words)
    return (line[start : start + ECHO_CHARS] for start in range(len(line) - ECHO_CHARS + 1))
