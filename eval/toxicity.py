"""Who says how toxic a text is: a classifier's folder or name on the hub, or a judge behind a server (URL#MODEL)."""

from collections.abc import Callable, Sequence

from caravan.errors import UserError
from caravan.terminal import Progress

Reader = Callable[[Sequence[str]], Sequence[float | None]]
JUDGE = "#"  # between the address of a server and the judge's name there


def toxicity_reader(classifier: str | None, progress: Progress) -> Reader | None:
    """What gives each text a value of 0 (not toxic) to 1, or None; looked for before a model is asked for any text.

    None: the published classifier, from the hub; where that cannot be had, a warning, and texts stay unjudged.
    Raises `UserError` for a classifier that is named and cannot be had.
    """
    from caravan.eval.scoring.classifier import DEFAULT, classify
    from caravan.train.hub import find_model

    if classifier is not None and "://" in classifier:
        from caravan.eval.judging.toxic import judge_toxic
        from caravan.eval.models.client import Endpoint

        url, mark, model = classifier.partition(JUDGE)
        if not mark or not model:
            raise UserError(
                "no judge is named", where=classifier, fix="write URL#MODEL, such as http://host:8000/v1#name"
            )
        endpoint = Endpoint(url, model)
        return lambda texts: judge_toxic(texts, endpoint, progress=progress)
    try:
        folder = find_model(classifier or DEFAULT)
    except UserError as error:
        if classifier is not None:
            raise
        progress.warn(f"texts will have no verdict of ToxiGen's classifier ({error}): name one with --classifier")
        return None
    if not any(folder.glob("*.safetensors")):
        fix = "convert it to safetensors, or name another: pickled weights are not read"
        raise UserError("the classifier has no safetensors", where=str(folder), fix=fix)
    return lambda texts: classify(texts, str(folder), progress=progress)
