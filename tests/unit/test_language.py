"""What pages say in German and English: times, and the sentences of errors."""

import time
from datetime import UTC, datetime

import pytest

from console.pages.language import language

MOMENT = datetime(2026, 11, 22, 14, 5, tzinfo=UTC)


@pytest.mark.parametrize(("code", "said"), [("en", "22 Nov 2026, 14:05 UTC"), ("de", "22.11.2026, 14:05 UTC")])
def test_a_date_can_be_read_in_one_way_only(code: str, said: str) -> None:
    spoken = language(code)
    assert f">{said}<" in spoken.moment(MOMENT)
    assert f'title="{said}"' in spoken.when(MOMENT)


@pytest.mark.parametrize(
    ("english", "german"),
    [
        ("mymoment.ch: log-in: HTTP 503", "mymoment.ch: Anmeldung: HTTP 503"),
        ("mymoment.ch: article 7: the session has expired", "mymoment.ch: Artikel 7: die Sitzung ist abgelaufen"),
        (
            "mymoment.ch: article 7 is not there for this login: HTTP 404",
            "mymoment.ch: Artikel 7 ist für dieses Login nicht da: HTTP 404",
        ),
        (
            "m.ch: article 7: The page holds no article: neither a title with its details nor a text",
            "m.ch: Artikel 7: Die Seite enthält keinen Artikel: weder einen Titel mit seinen Angaben noch einen Text",
        ),
        (
            "mymoment.ch: comment on article 7: sent, then HTTP 502",
            "mymoment.ch: Kommentar zu Artikel 7: abgeschickt, danach HTTP 502",
        ),
        (
            "Outcome unknown: the site accepted the comment but does not show it",
            "Ausgang unbekannt: Die Website hat den Kommentar angenommen, zeigt ihn aber nicht",
        ),
        (
            "Login bot waits 60 s after: mymoment.ch does not accept this login's username and password",
            "Das Login bot wartet 60 s nach: mymoment.ch nimmt Benutzername und Passwort dieses Logins nicht an",
        ),
        (
            "The model's answer was turned away: it has 20 characters, fewer than 50; something else",
            "Die Antwort des Modells wurde abgewiesen: er hat 20 Zeichen, weniger als 50; something else",
        ),
        (
            "Daily budget of provider “model” in CHF: used up (2 of 2); what waits goes on at 9:00 UTC",
            "Tagesbudget des Anbieters «model» in CHF: aufgebraucht (2 von 2); was wartet, geht weiter um 9:00 UTC",
        ),
        ("Something that nobody translated", "Something that nobody translated"),
    ],
)
def test_what_goes_wrong_is_said_in_german_with_the_reason_in_it(english: str, german: str) -> None:
    assert language("de").sentence(english) == german
    assert language("en").sentence(english) == english


def test_a_sentence_of_nobodys_costs_next_to_nothing() -> None:
    spoken, hostile = language("de"), "mymoment.ch: article 7: " + "sent, then " * 80
    began = time.perf_counter()
    for _ in range(20):
        spoken.sentence(hostile)
        spoken.sentence("x: " * 300)
        spoken.sentence("a; b; " * 150)
    assert (time.perf_counter() - began) / 60 < 0.5  # seconds; 0.01 on a quiet machine
