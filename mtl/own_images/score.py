"""How well a classifier of a person's own classes does on other pictures whose labels are known.

python run_meta.py score --classifier things.fewshot --pictures photos/test
python run_meta.py score --run checkpoints/cifar_fs --support photos/train --pictures photos/test
"""

import unicodedata
from collections.abc import Sequence
from pathlib import Path

import torch
from rich.markup import escape
from rich.table import Table

from mtl.config import Log
from mtl.data.folders import PICTURES_OPTION
from mtl.data.own_picture import Change, change_messages
from mtl.data.picture_files import support_files
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file as file
from mtl.own_images.classifier import Fitted
from mtl.own_images.console import console, say_left_out
from mtl.own_images.fit import Source, fit_run
from mtl.own_images.read_support import read_ahead, with_levels
from mtl.own_images.score_counts import Scores, Share
from mtl.own_images.score_counts import score as count_right
from mtl.runtime.progress import Count, tell

_CONFUSED, _NAMED = 10, 8  # confusions of the table; names of a sentence


def score(
    pictures: Path,
    run: Path | None = None,
    support: Path | None = None,
    classifier: Path | None = None,
    log: Log | None = None,
) -> Scores:
    """Prints accuracy, that of each class, and which classes are taken for which.

    Support pictures are left out, since the classifier knows them, and so are pictures of classes that it has
    not learned.

    Args:
        pictures: a folder `<class>/*`, or a CSV list, of whose splits `test` is taken.
        run: whose network is fitted to `support` first.
        support: a folder or list of labelled pictures.
        classifier: a file of `fit`, instead of these two.
        log: whether and how progress is shown.

    Raises:
        UserError: files cannot be read, or no picture is left whose class the classifier knows.
        ValueError: neither a run and a support folder nor a classifier is given.
    """
    listed = support_files(pictures, PICTURES_OPTION, "test")
    source = _source(run, support, classifier, log)
    known, left_out = _known(listed.files, source.fitted.classes, pictures)
    labels, answers, unread = _answers(source.fitted, known, log)
    left_out = [*source.left_out, *listed.left_out, *left_out, *unread]
    if not len(labels):
        say_left_out(left_out)
        raise UserError(f"{one_line(pictures)}: no picture is left to ask the classifier about")
    found = count_right(labels, answers, source.fitted.classes)
    say = console()
    say_left_out(left_out)
    say.print(escape(_summary(found)), highlight=False, soft_wrap=True)
    say.print(_by_class(found))
    for line in _confusions(found):
        say.print(escape(line), highlight=False, soft_wrap=True)
    return found


def _source(run: Path | None, support: Path | None, classifier: Path | None, log: Log | None) -> Source:
    if classifier is not None:
        return Source(file.load(classifier), ())
    if run is None or support is None:
        raise ValueError("a run and a support folder are needed, or a classifier")
    return fit_run(run, support, log)


def _known(
    files: dict[str, tuple[Path, ...]], classes: Sequence[str], pictures: Path
) -> tuple[dict[Path, int], list[str]]:
    """The class of each file that the classifier has learned, and sentences about the others.

    Raises:
        UserError: it has learned none of them.
    """
    place = {unicodedata.normalize("NFC", name): k for k, name in enumerate(classes)}
    found: dict[Path, int] = {}
    others: list[str] = []
    for name, of_class in files.items():
        if (k := place.get(unicodedata.normalize("NFC", name))) is None:
            others.append(f"{one_line(name)} {len(of_class):,}")
        else:
            found |= dict.fromkeys(of_class, k)
    if not found:
        raise UserError(
            f"{one_line(pictures)}: has none of the classes of the classifier ({_first(classes)}), but "
            f"{_first([*files])}; the folders must be called as those that it was fitted to"
        )
    return found, [
        f"pictures of classes that the classifier has not learned: {_first(others)}"
    ] if others else []


def _first(names: Sequence[str]) -> str:
    more = f" and {len(names) - _NAMED:,} more" if len(names) > _NAMED else ""
    return ", ".join(one_line(name) for name in names[:_NAMED]) + more


def _answers(
    fitted: Fitted, known: dict[Path, int], log: Log | None
) -> tuple[torch.Tensor, torch.Tensor, list[str]]:
    """Right and answered classes, (B,) each, and sentences about pictures that are not among them."""
    embedder = with_levels(fitted.embedder, list(known))
    prepared, changes = embedder.preparation, list[Change]()
    labels: list[int] = []
    answers = [torch.empty(0, dtype=torch.int64)]
    learned: list[str] = []
    unread: list[str] = []
    with Count("pictures", len(known), log) as count:
        for batch in read_ahead(list(known), prepared):
            changes += batch.changes
            if batch.files:
                features = embedder(batch.images)
                new = ~fitted.support.same_as(features).any(1)
                files = zip(batch.files, new.tolist(), strict=True)
                for path, is_new in files:
                    if is_new:
                        labels.append(known[path])
                    else:
                        learned.append(one_line(path))
                answers.append(fitted.answer(features).classes()[new])
            unread += [one.why for one in batch.unread]
            count.add(len(batch.files) + len(batch.unread))
    for sentence in change_messages(changes, prepared.ink, prepared.top):
        tell(sentence, log)
    if learned:
        many = "1 picture" if len(learned) == 1 else f"{len(learned):,} pictures"
        unread.append(
            f"{many} that the classifier was fitted to, which say nothing of new ones: {_first(learned)}"
        )
    return torch.tensor(labels, dtype=torch.int64), torch.cat(answers), unread


def _summary(found: Scores) -> str:
    low, high = found.total.interval
    plural = "picture" if found.total.asked == 1 else "pictures"
    return (
        f"{found.total.right:,} of {found.total.asked:,} {plural} right: {100 * found.total.accuracy:.1f} % "
        f"(95 % interval {100 * low:.1f} to {100 * high:.1f}); mean of the classes "
        f"{100 * found.balanced:.1f} %."
    )


def _by_class(found: Scores) -> Table:
    table = Table(title="By class, the lowest first", title_justify="left")
    table.add_column("class", overflow="fold")
    for name in ("pictures", "right", "%", "95 % interval"):
        table.add_column(name, justify="right", no_wrap=True)

    def order(item: tuple[str, Share]) -> tuple[float, str]:
        return item[1].accuracy, item[0]

    for name, share in sorted(found.classes.items(), key=order):
        low, high = share.interval
        cells = (f"{share.asked:,}", f"{share.right:,}", f"{100 * share.accuracy:.1f}")
        table.add_row(escape(one_line(name)), *cells, f"{100 * low:.0f} – {100 * high:.0f}")
    return table


def _confusions(found: Scores) -> list[str]:
    shown = found.confusions[:_CONFUSED]
    lines = [
        f"{one_line(name)} taken for {one_line(other)}: {count:,} of {found.classes[name].asked:,}"
        for name, other, count in shown
    ]
    more = len(found.confusions) - len(shown)
    return [*lines, f"and {more:,} pairs more"] if more else lines
