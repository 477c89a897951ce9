"""Phrases that the quality parts look for. English mostly, the gist in a dozen other languages.

They are looked for in lower case. A regular expression of many alternatives is slow, so each list names hints: every
phrase of the list holds one of them, and a text without any is not searched further.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

Flags = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Phrases:
    """A list of patterns, and the hints (literal, lower case) of which each match holds at least one."""

    hints: tuple[str, ...]
    pattern: re.Pattern[str]

    def found(self, lower: pl.Series) -> Flags:
        """Whether each text, in lower case, holds one of the phrases."""
        return each(self.pattern.search, lower, lower.str.contains_any(list(self.hints)).to_numpy())


def each(test: Callable[[str], object], texts: pl.Series, where: Flags) -> Flags:
    """Whether each of the texts where a flag stands passes the test; the others do not."""
    passed = where.copy()
    passed[where] = [bool(test(text)) for text in texts.filter(pl.Series(where)).to_list()]
    return passed


def _phrases(hints: str, *patterns: str) -> Phrases:
    return Phrases(tuple(hints.split("/")), re.compile("|".join(patterns)))


# "I can't come" in a letter is no refusal; "I can't help with that" is. So a verb of what assistants do must follow.
_DO = (
    r"(?:help(?!\s+(?:but|it|my|\w+ing)\b)|assist|provide|answer|fulfil|comply|complete|generate|create|write|produce"
    r"|offer|give|access|browse|open|view|engage|support|discuss|do (?:that|this|so)|process|perform|participate"
    r"|respond|share|see (?:the|any|your)|promote|condone|satisfy|continue with|tell you|carry out)"
)
_CANNOT = (
    r"(?:can(?:no|['’])t|can not|won['’]t|(?:am |['’]m )?(?:unable|not able|not (?:going|allowed)) to|must decline to)"
)
REFUSAL = _phrases(
    "sorry/apolog/afraid/can't/can’t/cannot/can not/won't/won’t/unable/not able/not going/not allowed/decline"
    "/against my/ unclear/ not clear/ incomplete/ empty/ missing/ not something/ not understand/lo siento/disculp"
    "/lamento/désolé/leid/leider/entschuldig/desculp/sinto/dispiace/spiacente/helaas/spijt/извините/сожалени/простите/maaf"
    "/抱歉/对不起/對不起/申し訳/すみません/ごめんなさい/죄송",
    r"^\W*(?:unfortunately,? )?i(?:['’]m| am)? ?(?:really |very |so |truly )?(?:sorry|afraid|apologi[sz]e)\b"
    rf"[^.!?\n]{{0,60}}?\b{_CANNOT}\s+(?:\w+\s+)?{_DO}",
    rf"^\W*(?:unfortunately,? )?i ?{_CANNOT} (?:\w+ )?{_DO}",
    r"^\W*i(?:['’]m| am) sorry, but (?:i (?:do not|don['’]t) (?:have|know|understand)|there is (?:no|not)|as an)",
    r"^\W*(?:sorry|apologies),? (?:but )?(?:i|that) (?:can(?:no|['’])t|won['’]t|is(?:n['’]t| not) something i)",
    r"\b(?:goes|is) against my (?:programming|guidelines|(?:core )?principles)",
    r"\b(?:the|this) (?:question|input|request|instruction) (?:is|was) (?:incomplete|unclear|not clear|empty|missing)",
    r"^\W*(?:lo siento|disculpa|lamento),? (?:pero )?(?:como [^.]{0,60} )?no (?:puedo|tengo|es posible)",
    r"^\W*(?:je suis désolée?|désolée?),? (?:mais )?(?:en tant [^.]{0,60} )?je ne (?:peux|suis|dispose)",
    r"^\W*(?:es tut mir leid|entschuldigung|leider)\b[^.]{0,60} (?:ich kann|kann ich|ich bin|bin ich) [^.]{0,60}nicht",
    r"^\W*(?:desculpe|sinto muito|lamento)\b[^.]{0,60} não (?:posso|tenho|consigo)",
    r"^\W*(?:mi dispiace|spiacente)\b[^.]{0,60} non (?:posso|sono in grado|ho)",
    r"^\W*(?:helaas|het spijt me)\b[^.]{0,60} (?:ik kan|kan ik) [^.]{0,60}niet",
    r"^\W*(?:извините|к сожалению|простите)[^.]{0,60} не (?:могу|имею|в состоянии)",
    r"^\W*(?:maaf|mohon maaf)\b[^.]{0,60} (?:tidak (?:dapat|bisa)|belum bisa)",
    r"^\W*(?:很?抱歉|对不起|對不起)[^。！？]{0,40}(?:无法|無法|不能|不可以|没有办法)",
    r"^\W*(?:申し訳|すみません|ごめんなさい)[^。！？]{0,60}(?:できません|いたしかねます|お答えできない)",
    r"^\W*죄송[^.!?]{0,60}(?:수 없|못합니다|어렵습니다)",
)

AI_DISCLAIMER = _phrases(
    "language model/chatbot/an ai/as ai/artificial/a.i./openai/cutoff/cut-off/training data/modelo de/ ia/inteligencia"
    "/inteligência/tant qu/modèle/als ki/als eine ki/künstliche/sprachmodell/taalmodel/modello/intelligenza"
    "/языковая модель/искусственный/как ии/model bahasa/kecerdasan/sebagai ai/人工智能/语言模型/作为"
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
)
ABOUT_AI = re.compile(
    r"\b(?:ai|a\.i\.|artificial intelligence|language models?|chat ?bots?|chatgpt|gpt-?\d?|robots?|you)\b"
)

# The answer as a whole is one of these.
PLACEHOLDER = re.compile(
    r"\W*(?:n\.?/a\.?|no ?(?:in|out)put|todo|tbd|to be (?:done|added|determined)|lorem ipsum.*|placeholder"
    r"|(?:your |the |my )?(?:answer|output|response|text|content)(?: goes)? here|xxx+|see (?:above|below|attached))\W*"
    r"|\W*[\[<{]+(?:insert|your|enter|add|fill in)\b[^\]>}]{0,60}[\]>}]+\W*|[\s.…_-]+",
    re.DOTALL,
)
BLANK_TO_FILL = _phrases(
    "[/<", r"\[(?:insert|add|your|enter|fill in|todo)\b[^\]\n]{0,60}\]", r"<(?:insert|your|todo)\b[^>\n]{0,40}>"
)

# UTF-8 read as Latin-1 or Windows-1252: what "é", curly quotes, dashes, no-break spaces turn into; and U+FFFD.
MOJIBAKE = (
    r"\ufffd|Ã[\u0080-\u00bf€‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ]|â€.?|â„¢"
    r"|Â[\u00a0-\u00bf]|ï»¿|[ÐÑ][\u0080-\u00bf][ÐÑ]|ã€|å[\u0080-\u00bf]æ"
)

CLOSED = _phrases(
    "yes or no/true or false/classif/categor/which of/option/choose/select/multiple/one word/single word/only the"
    "/just the/sentiment/positive/how many/how much/what /calculate/compute/solve/convert/translate/spell/who /when "
    "/name /fill in/extract/identify/label/) /oder nein/ou non/o no/или нет/是否/是不是/哪一个/翻译/分类/多少",
    r"\b(?:yes or no|true or false|classif|categor|which of the following|options?:|choose|select the|multiple.choice"
    r"|one word|single word|only the|just the (?:answer|number|name)|sentiment|positive or negative|how many|how much"
    r"|what (?:year|date|is the (?:name|capital|answer|value))|calculate|compute|solve|convert|translate|spell"
    r"|who (?:is|was|wrote|invented|won)|when (?:is|was|did)|name (?:a|an|one|the)\b|fill in|extract|identify|label)",
    r"(?:^|\s)\(?[a-d]\) ",
    r"ja oder nein|oui ou non|sí o no|да или нет|是否|是不是|哪一个|翻译|分类|多少",
)
BRIEF = _phrases(
    "brief/short/concise/summar/one sentence/single sentence/a sentence/tldr/tl;dr/rewrite/rephrase/paraphrase/edit"
    "/correct/headline/title/slogan/tweet/haiku/joke/caption/kurz/résum/resum/кратко/概括/总结/简短/一句话/要約",
    r"\b(?:brief|short|concise|summar|one sentence|single sentence|in a sentence|tl;?dr|rewrite|rephrase|paraphrase"
    r"|edit\b|correct|headline|title|slogan|tweet|haiku|joke|caption|kurz|résum|resum)",
    r"кратко|概括|总结|简短|一句话|要約",
)
TRANSLATE = _phrases(
    "transl/tradu/übersetz/vertaal/terjemah/перев/翻译/翻譯/翻訳/번역",
    r"\b(?:transl|tradu|übersetz|vertaal|terjemah)|перев[её]д|翻译|翻譯|翻訳|번역",
)

# Words that say nothing of a topic.
COMMON = """
about above according after again against along already also although always among another answer anything
appropriate around article asked available based because become been before being below best better between both
called came case certain change choose come complete consider contain correct could create describe described
details different does doing done down during each either else ensure even every example examples explain fact feel
find first following follow found from full further generate give given goes going good great have having help here
however idea identify important include including information input instruction into itself just keep kind know
large last later least less like line list little long look made main make making many mean might more most much
must name need never next note number often once only open option order other others output over paragraph part
passage people perhaps person phrase place please point possible present problem provide provided question quite
rather read really reason right same says second sentence several should show similar simple since small some
someone something statement still story such suggest sure take tell text than thank that their them then there these
they thing think this those though three through time times together told topic true type under until upon used
useful user using various very want well were what when where whether which while whole will with within without
word words work would write written year your yourself como pour avec dans plus être cette sont aber oder eine einer
nicht sich auch wird werden über este esta pero porque cuando donde tiene sobre entre para
"""
