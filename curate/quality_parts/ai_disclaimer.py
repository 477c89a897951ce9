"""Whether the answer speaks of itself as a language model."""

import re
from typing import Final

import numpy as np

from caravan.curate import phrases
from caravan.curate.exchanges import Exchanges, Floats

VERSION = 3
KIND: Final = "gate"

AI_DISCLAIMER = phrases.listed(
    "language model/chatbot/artificial/a.i./openai/cutoff/cut-off/training data/modelo de/ ia/inteligencia"
    "/inteligência/tant qu/modèle/als ki/ein ki/eine ki/künstliche/sprachmodell/taalmodel/modello/intelligenza"
    "/языковая модель/искусственный/как ии/model bahasa/kecerdasan/人工智能/语言模型/作为"
    "/として/なので/であるため/로서/이기 때문",
    r"\bas an? (?:\w+ ){0,2}(?:ai|a\.i\.|artificial intelligence|language model|chatbot)\b",
    r"\bi(?:['’]m| am) (?:just |only |merely )?an? (?:\w+ ){0,2}(?:ai|language model|chatbot)\b",
    r"\b(?:trained|developed|created) by openai\b",
    r"\bmy (?:knowledge cut-?off|training data)\b",
    r"\bcomo (?:un )?(?:modelo de (?:lenguaje|linguagem)|ia\b|inteligencia artificial|inteligência artificial)",
    r"\ben tant qu(?:e |['’])(?:une )?(?:ia\b|intelligence artificielle|modèle de lang)",
    r"\bals (?:eine? )?(?:ki\b|künstliche intelligenz|sprachmodell|ai-taalmodel)",
    r"\bcome (?:modello linguistico|ia\b|intelligenza artificiale)",
    r"как (?:языковая модель|искусственный интеллект|ии\b)",
    r"\bsebagai (?:model bahasa|ai\b|kecerdasan buatan)",
    r"作为(?:一个|一名|一种)?\s*(?:ai|人工智能|语言模型|大?型?语言模型)",
    r"(?:ai|人工知能|言語モデル)(?:言語モデル|アシスタント)?(?:として|なので|であるため)",
    r"(?:ai|인공지능)\s*(?:언어 모델|어시스턴트)?(?:로서|이기 때문)",
    word="ai",
)
ABOUT_AI = re.compile(
    r"\b(?:ai|a\.i\.|artificial intelligence|language models?|chat ?bots?|chatgpt|gpt-?\d?|robots?|you)\b"
)
_MORE = 60  # words


def score(e: Exchanges) -> Floats:
    """.4 where the answer speaks of itself as a language model and says little more, .95 where it goes on.

    .95 also where the prompt asks about such things.
    """
    found = AI_DISCLAIMER.found(e.answers.lower)
    asked = phrases.each(ABOUT_AI.search, e.prompts.lower, found)
    return np.where(found, np.where(asked | (e.answers.words >= _MORE), 0.95, 0.4), 1.0)
