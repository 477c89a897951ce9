"""Whether the answer declines."""

from typing import Final

import numpy as np

from caravan.curate import phrases
from caravan.curate.exchanges import Exchanges, Floats

VERSION = 2
KIND: Final = "gate"

# "I can't come" in a letter is no refusal; "I can't help with that" is. So a verb of what assistants do must follow.
_DO = (
    r"(?:help(?!\s+(?:but|it|my|\w+ing)\b)|assist|provide|answer|fulfil|comply|complete|generate|create|write|produce"
    r"|offer|give|access|browse|open|view|engage|support|discuss|do (?:that|this|so)|process|perform|participate"
    r"|respond|share|see (?:the|any|your)|promote|condone|satisfy|continue with|tell you|carry out)"
)
_CANNOT = (
    r"(?:can(?:no|['’])t|can not|won['’]t|(?:am |['’]m )?(?:unable|not able|not (?:going|allowed)) to|must decline to)"
)
REFUSAL = phrases.listed(
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
    r"^\W*(?:unfortunately,? |i(?:['’]m| am) sorry,? (?:but )?)?(?:the|this) (?:question|input|request|instruction)"
    r" (?:is|was) (?:incomplete|unclear|not clear|empty|missing)",
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


def score(e: Exchanges) -> Floats:
    """.1 for an answer that declines in its first 300 characters and says little more, .5 where it goes on."""
    refused = REFUSAL.found(e.answers.lower.str.slice(0, 300))
    return np.where(refused, np.where(e.answers.words < 120, 0.1, 0.5), 1.0)
