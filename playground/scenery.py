"""Which classes there are, and which text a class gets next."""

import random
from dataclasses import dataclass
from functools import cache

from playground.models import CATEGORIES, TASKS, ArticleText
from playground.texts import nth, shipped


@dataclass(frozen=True)
class SchoolClass:
    name: str
    language: str


CLASSES = {101: SchoolClass("Klasse 4a", "de"), 102: SchoolClass("Class 5b (English)", "en")}

_ANIMALS = ("Igel", "Fuchs", "Dachs", "Specht", "Biber", "Luchs", "Hase", "Rabe", "Frosch", "Otter")
_PLACES = ("im Wald", "am Bach", "hinter dem Schulhaus", "auf der Wiese", "am See", "im Garten meiner Oma")
_DEEDS = ("Nüsse gesucht", "laut gerufen", "ein Nest gebaut", "sich versteckt", "in der Sonne geschlafen")


def class_text(tab: int, number: int, seed: int) -> ArticleText:
    """The class's text of that number, in an order that the seed decides."""
    return nth(_shuffled(CLASSES[tab].language, seed), number)


def bulk_text(tab: int, number: int) -> ArticleText:
    """A short text that differs from all others of its class and is the same every time."""
    pick = random.Random(f"{tab}/{number}")
    animal, place, deed = pick.choice(_ANIMALS), pick.choice(_PLACES), pick.choice(_DEEDS)
    hour = pick.randint(6, 20)
    return ArticleText(
        title=f"Der {animal} Nummer {number + 1}",
        author=pick.choice(("Lena", "Noah", "Elif", "Luca", "Mira", "Tim")),
        category=pick.choice(tuple(CATEGORIES)),
        task=pick.choice(tuple(TASKS)),
        status="publiziert",
        body=(
            f"Heute um {hour} Uhr habe ich {place} einen {animal} gesehen. "
            f"Er hat {deed} und dann zu mir geschaut.\n\n"
            f"Ich habe {pick.randint(2, 90)} Minuten gewartet. Nachher habe ich ihm den Namen "
            f"«{animal} {number + 1}» gegeben. Morgen gehe ich wieder hin."
        ),
    )


@cache
def _shuffled(language: str, seed: int) -> tuple[ArticleText, ...]:
    texts = list(shipped(language))
    random.Random(seed).shuffle(texts)
    return tuple(texts)
