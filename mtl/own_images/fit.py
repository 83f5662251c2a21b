"""Fitting a classifier to a person's own classes, keeping it as a file, and changing what it knows.

python run_meta.py fit --run checkpoints/cifar_fs --support my_things --out things.fewshot
python run_meta.py fit --classifier things.fewshot --add more_things --remove elm
"""

import difflib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.markup import escape

from mtl.config import Log, Runtime
from mtl.data.class_tree import composed, similar_name_messages
from mtl.data.picture_files import support_files
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file as file
from mtl.own_images.classifier import Fitted, fit
from mtl.own_images.console import console, say_left_out, say_outlook
from mtl.own_images.embedder import embedder_of_run
from mtl.own_images.read_support import read_support, require_ways
from mtl.own_images.support import Support
from mtl.runtime.outputs import claimed, require_free
from mtl.runtime.progress import tell

_OTHER_KINDS = (".csv", ".json", ".html", ".yaml", ".png", ".jpg", ".jpeg", ".pt", ".onnx", ".pt2")


@dataclass(frozen=True, eq=False)
class Source:
    """A fitted classifier, and what was no part of its support set."""

    fitted: Fitted
    left_out: tuple[str, ...]  # a sentence each


def fit_run(run: Path, support: Path, log: Log | None = None) -> Source:
    """Adapts the network of a run to a support folder, on the best device there is.

    Raises:
        UserError: it is no run, its learner does not serve this, or too few classes have pictures.
    """
    listed = support_files(support)
    embedder = embedder_of_run(run, Runtime())
    require_ways(embedder, len(listed.files))
    read = read_support(support, embedder, log)
    require_ways(embedder, read.support.way)
    return Source(fit(read.embedder, read.support), read.left_out)


def fit_new(run: Path, support: Path, out: Path, overwrite: bool = False, log: Log | None = None) -> None:
    """Fits a classifier and writes it to `out`; says what it holds and how well it will do.

    Raises:
        UserError: as `fit_run`; or `out` cannot be written, has the ending of another kind of file, or is
            there and may not be overwritten.
    """
    _require_no_other_kind(out)
    with claimed(out, "fit"):
        require_free(out, overwrite=overwrite)
        _finish(fit_run(run, support, log), out)


def fit_again(
    classifier: Path,
    add: Path | None = None,
    remove: str | None = None,
    out: Path | None = None,
    overwrite: bool = False,
    log: Log | None = None,
) -> None:
    """Removes classes from a classifier, adds pictures of new classes or known ones, and writes it.

    Args:
        classifier: a file of `fit`.
        add: a support folder.
        remove: names of classes with commas between them; they go before anything is added.
        out: None: the classifier itself is replaced, after any other process that is changing it: no
            addition is lost.

    Raises:
        UserError: there is no such class, fewer than two would be left, a known class would be lost to
            another that is added, nothing would change, or files cannot be read or written.
    """
    if add is None and remove is None:
        raise UserError(f"{one_line(classifier)}: nothing is to be changed; --add or --remove says what")
    if out is not None:
        _require_no_other_kind(out)
    with claimed(out or classifier, "fit", wait=out is None):
        _change(classifier, add, remove, out, overwrite, log)


def _change(
    classifier: Path, add: Path | None, remove: str | None, out: Path | None, overwrite: bool, log: Log | None
) -> None:
    before = file.load(classifier)
    require_free(out or classifier, overwrite=overwrite or out is None)
    embedder, left_out, slips = before.embedder, list[str](), list[str]()
    support: Support | None = before.support
    if remove is not None:
        support = _without(before.support, _named(remove, before.classes, classifier))
    if add is not None:
        read = read_support(add, embedder, log, least=1, option="--add ", tell_names=False)
        embedder = read.embedder
        known = () if support is None else support.classes
        support, told = _joined(support, _spelled(read.support, known), add)
        slips = similar_name_messages(support.classes, set(support.classes) - set(known))
        left_out += [*read.left_out, *told]
    if support is None or support.way < 2:
        left = "none" if support is None else _quoted(support.classes[0])
        raise UserError(
            f"{one_line(classifier)}: a classifier needs two classes or more; of {before.support.way} there "
            f"would be left {left}"
        )
    require_ways(embedder, support.way)
    for sentence in slips:
        tell(sentence)
    _finish(Source(fit(embedder, support), tuple(left_out)), out or classifier)


def _require_no_other_kind(out: Path) -> None:
    """
    Raises:
        UserError: a classifier of this name would be taken for something else.
    """
    if out.suffix.lower() in _OTHER_KINDS:
        raise UserError(
            f"{one_line(out)}: {out.suffix} is the ending of another kind of file; a classifier ends in "
            f".fewshot, as {one_line(out.with_suffix('.fewshot'))}"
        )


def _finish(source: Source, out: Path) -> None:
    file.save(source.fitted, out)
    say = console()
    say_left_out(source.left_out)
    _say_fitted(say, source.fitted)
    say_outlook(say, source.fitted)
    say.print(f"Classifier: {escape(one_line(out))}", highlight=False, soft_wrap=True)


def _say_fitted(say: Console, fitted: Fitted) -> None:
    support = fitted.support
    each = zip(support.classes, support.counts().tolist(), strict=True)
    classes = ", ".join(f"{one_line(name)} {count:,}" for name, count in each)
    told = f"Fitted {support.way} classes with {len(support):,} pictures: {classes}."
    say.print(escape(told), highlight=False, soft_wrap=True)


def _named(text: str, classes: Sequence[str], classifier: Path) -> list[str]:
    """The classes that a list names; a class with a comma in its name can be named alone."""
    if text in classes:
        return [text]
    parts = [part for part in text.split(",") if part.strip()]
    names = [part if part in classes else part.strip() for part in parts]
    if not names:
        raise UserError(f"--remove: {text!r} names no class")
    for name in names:
        if name not in classes:
            near = difflib.get_close_matches(name, classes, 1, 0.5)
            known = ", ".join(_quoted(c) for c in classes[:20]) + (", ..." if len(classes) > 20 else "")
            hint = f"; did you mean {_quoted(near[0])}?" if near else ""
            raise UserError(
                f"--remove: {_quoted(name)} is no class of {one_line(classifier)}{hint} (it has: {known})"
            )
    return names


def _quoted(name: str) -> str:
    return f'"{one_line(name)}"'


def _shown(name: str) -> str:
    """A class's name; in quotes where it would look like that of another."""
    return one_line(name) if name == name.strip() else _quoted(name)


def _without(support: Support, names: Sequence[str]) -> Support | None:
    return None if set(names) >= set(support.classes) else support.without(names)


def _spelled(added: Support, known: Sequence[str]) -> Support:
    """With the names of classes that are there already in the Unicode form that they have there."""
    spelling = {composed(name): name for name in known}
    names = [spelling.get(composed(name), name) for name in added.names()]
    return Support.of(added.features, names, added.files, added.prints)


def _joined(known: Support | None, added: Support, folder: Path) -> tuple[Support, list[str]]:
    """Both, but for pictures that are in both: such a picture counts once, or in two classes not at all.

    Raises:
        UserError: nothing would be added, or a known class would be lost.
    """
    if known is None:
        return added, []
    same = known.same_as(added.features)
    keep_known, keep_added, told = [True] * len(known), [True] * len(added), list[str]()
    old, new = known.names(), added.names()
    rivals: dict[str, set[str]] = {}  # by known class: those that have pictures of it as well
    for row, where in enumerate(same):
        places = where.nonzero().flatten().tolist()
        if not places:
            continue
        keep_added[row] = False
        first = f"{one_line(added.files[row])}: is the same picture as {one_line(known.files[places[0]])}"
        if {old[place] for place in places} == {new[row]}:
            told.append(f"{first}, which is there already; it counts once")
            continue
        told.append(f"{first} of another class; as nobody knows which is right, none counts")
        among = {new[row], *(old[place] for place in places)}
        for place in places:
            keep_known[place] = False
            rivals.setdefault(old[place], set()).update(among - {old[place]})
    left = {name for name, kept in zip(old, keep_known, strict=True) if kept}
    for name in known.classes:
        if name not in left:
            raise UserError(_lost(name, sorted(rivals[name]), folder))
    if not any(keep_added) and all(keep_known):
        raise UserError(f"{one_line(folder)}: holds no picture that is not there already")
    joined = known.some(_rows(keep_known))
    if any(keep_added):
        joined = joined.joined(added.some(_rows(keep_added)))
    gone = [name for name in added.classes if name not in joined.classes]
    return joined, [*(f"{one_line(folder / name)}: no picture of it is left" for name in gone), *told]


def _lost(name: str, rivals: Sequence[str], folder: Path) -> str:
    where = ", ".join(_shown(rival) for rival in rivals)
    return (
        f"{_shown(name)}: all of its pictures are in {where} as well; as nobody knows which is right, none "
        f"would count and the class would be lost; take them out of {one_line(folder)}, or --remove "
        f"{_shown(name)} with it"
    )


def _rows(keep: Sequence[bool]) -> list[int]:
    return [row for row, kept in enumerate(keep) if kept]
