"""Fitting a classifier to a person's own classes, keeping it as a file, and changing what it knows.

python run_meta.py fit --run checkpoints/cifar_fs --support my_things --out things.fewshot
python run_meta.py fit --classifier things.fewshot --add more_things --remove elm
python run_meta.py fit --classifier things.fewshot --fix corrections.csv
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from torch import Tensor

from mtl.config import Backbone, Log, Runtime
from mtl.data.class_tree import composed
from mtl.data.picture_files import support_files
from mtl.data.picture_lists import read_list
from mtl.errors import UserError, one_line
from mtl.own_images import classifier_file
from mtl.own_images.classifier import FittedClassifier, fit_classifier
from mtl.own_images.console import say, say_left_out, say_self_assessment
from mtl.own_images.fine_tune import fine_tuned, require_trainable
from mtl.own_images.published import embedder_of, fit_with_chosen_head
from mtl.own_images.read_support import read_support, tell_nearly_same
from mtl.own_images.support import Support
from mtl.runtime.outputs import claimed, require_free

_OTHER_KINDS = (".csv", ".json", ".html", ".yaml", ".png", ".jpg", ".jpeg", ".pt", ".onnx", ".pt2")


@dataclass(frozen=True)
class ClassifierSource:
    """Where a command gets its classifier: a network that is fitted to a support folder, or a file of `fit`.

    Raises:
        ValueError: neither is given, or both.
    """

    network: Path | Backbone | None = None  # of a run, or a published one
    support: Path | None = None
    classifier: Path | None = None
    runtime: Runtime = field(default_factory=Runtime)
    fine_tune: bool = False  # the published network, where the support pictures say that it helps

    def __post_init__(self) -> None:
        if len({self.network is not None, self.support is not None, self.classifier is None}) > 1:
            raise ValueError("a network and a support folder are needed, or a classifier")

    def __str__(self) -> str:
        network = self.network.name if isinstance(self.network, Backbone) else self.network
        return f"{network}, fitted to {self.support}" if self.classifier is None else str(self.classifier)


@dataclass(frozen=True, eq=False)
class Fit:
    """A fitted classifier, and what was left out of its support set."""

    classifier: FittedClassifier
    left_out: tuple[str, ...] = ()  # a sentence each
    shown: Mapping[Path, Tensor] = field(default_factory=dict)  # support pictures just read, for a page


def load_or_fit(source: ClassifierSource, log: Log | None = None) -> Fit:
    """The classifier of a command; a UserError as of `fit_network`, or where the file is not a classifier."""
    if source.network is not None and source.support is not None:
        return fit_network(source.network, source.support, log, source.runtime, source.fine_tune)
    assert source.classifier is not None
    return Fit(classifier_file.load(source.classifier, source.runtime))


def fit_network(
    network: Path | Backbone,
    support: Path,
    log: Log | None = None,
    runtime: Runtime | None = None,
    fine_tune: bool = False,
) -> Fit:
    """Adapts the network of a run, or a published one, to a support folder, on the best device there is.

    Raises:
        UserError: it is not a run, its learner does not serve this, there is no such network, too few
            classes have pictures, or `fine_tune` does not go with them.
    """
    listed = support_files(support)
    embedder = embedder_of(network, runtime)
    embedder.require_way(len(listed.files))
    if fine_tune:
        require_trainable(embedder)
    read = read_support(support, embedder, log, keep=fine_tune)
    tell_nearly_same(read.support.classes)
    embedder.require_way(read.support.way)
    classifier = fit_with_chosen_head(read.embedder, read.support, log)
    if read.images is not None:
        tuned = fine_tuned(read.embedder, read.support, read.images, classifier, log)
        classifier = tuned.classifier if tuned.helps else classifier
    return Fit(classifier, read.left_out, read.shown)


def fit_new(source: ClassifierSource, out: Path, overwrite: bool = False, log: Log | None = None) -> None:
    """Fits a classifier and writes it to `out`; prints what it holds and its expected accuracy.

    Raises:
        UserError: as `load_or_fit`; or `out` cannot be written, has the ending of another kind of file, or
            exists and may not be overwritten.
    """
    _refuse_other_endings(out)
    with claimed(out, "fit"):
        require_free(out, overwrite=overwrite)
        _save_and_say(load_or_fit(source, log), out)


@dataclass(frozen=True)
class Changes:
    """What is done to a classifier, in this order."""

    remove: str | None = None  # names of classes with commas between them
    add: Path | None = None  # a support folder
    fix: Path | None = None  # a list of pictures with their right labels: a support picture gets this label,
    #   another becomes a support picture


def fit_again(
    classifier: Path,
    changes: Changes,
    out: Path | None = None,
    overwrite: bool = False,
    log: Log | None = None,
    runtime: Runtime | None = None,
) -> None:
    """Removes classes from a classifier, adds pictures, corrects labels, and writes it.

    Args:
        classifier: a file of `fit`.
        changes: what is to be done.
        out: None: the classifier itself is replaced, after any other process that is changing it: no
            addition is lost.
        overwrite: True if another `out` may exist.
        log: how progress is shown, if at all.
        runtime: where the network runs.

    Raises:
        UserError: there is no such class, fewer than two would be left, a known class would be lost to
            others, nothing would change, or files cannot be read or written.
    """
    if changes == Changes():
        raise UserError(
            f"{one_line(classifier)}: nothing is to be changed; --add, --remove or --fix says what"
        )
    path = out or classifier
    if out is not None:
        _refuse_other_endings(out)
    with claimed(path, "fit", wait=out is None):
        before = classifier_file.load(classifier, runtime)
        require_free(path, overwrite=overwrite or out is None)
        _save_and_say(_changed(before, classifier, changes, log), path)


def _changed(before: FittedClassifier, shown: Path, changes: Changes, log: Log | None) -> Fit:
    """Fitted again: without some classes, with the pictures of a folder, with corrected labels."""
    classifier_file.require_not_fine_tuned(before, shown, "it cannot be changed")
    remove, add, fix = changes.remove, changes.add, changes.fix
    embedder, left_out, added = before.embedder, list[str](), set[str]()
    support: Support | None = before.support
    if remove is not None:
        names = _classes_named(remove, before.classes, shown)
        support = None if set(names) >= set(before.classes) else before.support.without(names)
    if add is not None:
        read = read_support(add, embedder, log, least=1, option="--add ")
        embedder, known = read.embedder, () if support is None else support.classes
        support, duplicates = _merged(support, _spelled_as(read.support, known), add)
        added = set(support.classes) - set(known)
        left_out += [*read.left_out, *duplicates]
    if support is None or support.way < 2:
        left = "none" if support is None else _quoted(support.classes[0])
        raise UserError(
            f"{one_line(shown)}: a classifier needs two classes or more; of {before.support.way} there would "
            f"be left {left}"
        )
    if fix is not None:
        _require_known(fix, support.classes)
        read = read_support(fix, embedder, log, least=1, option="--fix ")
        embedder, support = (
            read.embedder,
            _corrected(support, _spelled_as(read.support, support.classes), fix),
        )
        left_out += read.left_out
    embedder.require_way(support.way)
    tell_nearly_same(support.classes, added)
    return Fit(fit_classifier(embedder, support), tuple(left_out))


def _refuse_other_endings(out: Path) -> None:
    """A classifier of such a name would be taken for something else."""
    if out.suffix.lower() in _OTHER_KINDS:
        raise UserError(
            f"{one_line(out)}: {out.suffix} is the ending of another kind of file; a classifier ends in "
            f".fewshot, as {one_line(out.with_suffix('.fewshot'))}"
        )


def _save_and_say(fit: Fit, out: Path) -> None:
    classifier_file.save(fit.classifier, out)
    say_left_out(fit.left_out)
    support = fit.classifier.support
    counts = zip(support.classes, support.counts().tolist(), strict=True)
    classes = ", ".join(f"{one_line(name)} {count:,}" for name, count in counts)
    say([f"Fitted {support.way} classes with {len(support):,} pictures: {classes}."])
    say_self_assessment(fit.classifier)
    say([f"Classifier: {one_line(out)}"])


def _require_known(fix: Path, classes: Sequence[str]) -> None:
    """Refuses corrections with a label that is none of the classes: a slip would make a class."""
    if not fix.is_file():
        raise UserError(f"--fix: {one_line(fix)}: there is no such file; a CSV file of path,label is needed")
    known = {composed(name) for name in classes}
    for row in read_list(fix, "--fix "):
        if composed(row.label) not in known:
            where = f"{one_line(fix)}: line {row.line}"
            raise UserError(f"{where}: {_unknown(row.label, classes)}; --add adds classes")


def _corrected(support: Support, right: Support, fix: Path) -> Support:
    """With the labels of `right`: its pictures that are in the support set are relabelled, others added.

    The order is that of a support folder: by class, then by file.

    Raises:
        UserError: no label differs and no picture is new, or a class would be left without a picture.
    """
    names, added = support.names(), list[int]()
    for row, (label, same) in enumerate(zip(right.names(), support.same_as(right.features), strict=True)):
        copies = same.nonzero().flatten().tolist()
        for copy in copies:
            names[copy] = label
        added += [] if copies else [row]
    if names == support.names() and not added:
        raise UserError(f"{one_line(fix)}: changes nothing: its pictures have these labels already")
    whole = Support.of(support.features, names, support.files, support.prints)
    if added:
        whole = whole.joined(right.some(added))
    for name in support.classes:
        if name not in whole.classes:
            raise UserError(
                f"{one_line(fix)}: all pictures of {_shown(name)} get another label and the class would be "
                f"lost; leave it one, or take the class out with --remove {_shown(name)}"
            )
    of = whole.names()
    return whole.some(sorted(range(len(whole)), key=lambda i: (of[i], Path(whole.files[i]))))


def _classes_named(text: str, classes: Sequence[str], classifier: Path) -> list[str]:
    """The classes in a comma-separated list; a class with a comma in its name can be named alone."""
    if text in classes:
        return [text]
    parts = [part for part in text.split(",") if part.strip()]
    names = [part if part in classes else part.strip() for part in parts]
    if not names:
        raise UserError(f"--remove: {text!r} names no class")
    for name in names:
        if name not in classes:
            raise UserError(f"--remove: {_unknown(name, classes, f' of {one_line(classifier)}')}")
    return names


def _unknown(name: str, classes: Sequence[str], of: str = " of the classifier") -> str:
    near = difflib.get_close_matches(name, classes, 1, 0.5)
    known = ", ".join(_quoted(c) for c in classes[:20]) + (", ..." if len(classes) > 20 else "")
    hint = f"; did you mean {_quoted(near[0])}?" if near else ""
    return f"{_quoted(name)} is not a class{of}{hint} (it has: {known})"


def _quoted(name: str) -> str:
    return f'"{one_line(name)}"'


def _shown(name: str) -> str:
    """A class's name; in quotes where it would look like that of another."""
    return one_line(name) if name == name.strip() else _quoted(name)


def _spelled_as(added: Support, known: Sequence[str]) -> Support:
    """With the names of known classes in the Unicode form that they have there."""
    spelling = {composed(name): name for name in known}
    names = [spelling.get(composed(name), name) for name in added.names()]
    return Support.of(added.features, names, added.files, added.prints)


def _merged(known: Support | None, added: Support, folder: Path) -> tuple[Support, list[str]]:
    """Both, but for pictures that are in both: such a picture counts once, or in two classes not at all.

    Raises:
        UserError: nothing would be added, or a known class would be lost.
    """
    if known is None:
        return added, []
    same = known.same_as(added.features)
    keep_known, keep_added, sentences = set(range(len(known))), set(range(len(added))), list[str]()
    old, new = known.names(), added.names()
    rivals: dict[str, set[str]] = {}  # by known class: those that have pictures of it as well
    for row, where in enumerate(same):
        copies = where.nonzero().flatten().tolist()
        if not copies:
            continue
        keep_added.remove(row)
        first = f"{one_line(added.files[row])}: is the same picture as {one_line(known.files[copies[0]])}"
        if {old[copy] for copy in copies} == {new[row]}:
            sentences.append(f"{first}, which is there already; it counts once")
            continue
        sentences.append(f"{first} of another class; as nobody knows which is right, none counts")
        among = {new[row], *(old[copy] for copy in copies)}
        for copy in copies:
            keep_known.discard(copy)
            rivals.setdefault(old[copy], set()).update(among - {old[copy]})
    left = {old[row] for row in keep_known}
    for name in known.classes:
        if name not in left:
            raise UserError(_lost(name, sorted(rivals[name]), folder))
    if not keep_added and len(keep_known) == len(known):
        raise UserError(f"{one_line(folder)}: holds no picture that is not there already")
    merged = known.some(sorted(keep_known))
    if keep_added:
        merged = merged.joined(added.some(sorted(keep_added)))
    gone = [name for name in added.classes if name not in merged.classes]
    return merged, [*(f"{one_line(folder / name)}: no picture of it is left" for name in gone), *sentences]


def _lost(name: str, rivals: Sequence[str], folder: Path) -> str:
    where = ", ".join(_shown(rival) for rival in rivals)
    return (
        f"{_shown(name)}: all of its pictures are in {where} as well; as nobody knows which is right, none "
        f"would count and the class would be lost; take them out of {one_line(folder)}, or --remove "
        f"{_shown(name)} with it"
    )
