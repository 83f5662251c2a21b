"""The commands for a person's own pictures: a few of each class are enough."""

import argparse
import os
from typing import TYPE_CHECKING

from mtl.cli.subcommand import add, path
from mtl.errors import UserError

if TYPE_CHECKING:
    from mtl.cli.subcommand import Commands
    from mtl.own_images.fit import ClassifierSource

_SUPPORT = """
A support folder holds one folder for each class, with pictures right in it: my_things/ash/*.jpg,
my_things/elm/*.jpg. Their number does not matter and may differ. What cannot be read is left out and said; a
picture that is in two classes is left out of both. Instead of a folder it may be a CSV file with a row
path,label for each picture, with paths relative to its own folder.
"""
_QUERY = """
--query takes folders, which are searched with all that lies below, quoted patterns and single files. Hidden
files, and in folders those that are no pictures by their ending, are passed over; links that lead in a circle
are followed once.

Columns of the table, one row a picture in the order of the files:
  file, class, probability (calibrated: of answers with 0.8 four of five are right), runner_up,
  runner_up_probability, margin (the first probability less the second), and with --open-set none (the
  probability of being of none of the classes; above 0.5 the class is "none of these"; the other probabilities
  then are of all there is, so that with it they sum to 1)
A file that cannot be read has a row at the end with nothing but its name; in JSON it stands under "skipped",
with the reason. Ctrl-C stops; the answers by then are written.

  run_meta.py predict --run checkpoints/cifar_fs --support my_things --query new_pictures
  run_meta.py predict --classifier things.fewshot --query 'new/*.jpg' one.png --out answers.json --open-set
"""
_SCORE = """
--pictures is laid out like a support folder; of a CSV file with splits, rows of train are learned and rows of
test are asked. Pictures of classes that were not learned, and support pictures, are left out.

  run_meta.py fit --run checkpoints/cifar_fs --support photos/train --out photos.fewshot
  run_meta.py score --classifier photos.fewshot --pictures photos/test
"""
_QUIET = "no progress, results and errors alone"
_FIT = """
  run_meta.py fit --run checkpoints/cifar_fs --support my_things --out things.fewshot
  run_meta.py fit --classifier things.fewshot --add more_things --remove 'ash,elm'

Pictures that --add brings for a class that is there join those it has; classes of --remove go first. Without
--out the classifier itself is replaced; another file that is there is kept unless --overwrite is given.
"""


def add_to(commands: "Commands") -> None:
    """Adds them all."""
    predict = add(
        commands,
        "predict",
        _predict,
        "what new pictures show, from a few of each class",
        "Says how well it will do,\nthen writes a table and a page, least sure first.",
    )
    predict.epilog = _SUPPORT + _QUERY
    _takes_source(predict)
    predict.add_argument(
        "--query",
        type=os.path.expanduser,
        metavar="PICTURES",
        nargs="+",
        action="extend",
        required=True,
        help="what to answer",
    )
    predict.add_argument(
        "--out",
        type=path,
        metavar="FILE",
        default="predictions.csv",
        help="the table, .csv or .json (default predictions.csv); beside it a page, .html",
    )
    predict.add_argument("--open-set", action="store_true", help="a picture may be of none of the classes")
    _takes_common(predict, "files that are there already")

    score = add(
        commands,
        "score",
        _score,
        "how many labelled pictures a classifier answers right",
        "Prints accuracy with its\n95 % interval, by class too, and which classes are taken for which.",
    )
    score.epilog = _SUPPORT + _SCORE
    _takes_source(score)
    score.add_argument(
        "--pictures",
        type=path,
        metavar="DIR",
        required=True,
        help="other pictures of these classes, like a support folder",
    )
    score.add_argument("-q", "--quiet", action="store_true", help=_QUIET)

    fit = add(
        commands,
        "fit",
        _fit,
        "keep a classifier of your classes as a file",
        "Fits it to a support folder, or changes\n"
        "one that is fitted. The file stands alone, without run and pictures.",
    )
    fit.epilog = _SUPPORT + _FIT
    _takes_source(fit)
    fit.add_argument("--out", type=path, metavar="FILE", help="the classifier, e.g. things.fewshot")
    fit.add_argument("--add", type=path, metavar="DIR", help="a support folder whose pictures are added")
    fit.add_argument("--remove", metavar="CLASSES", help="classes to forget, with commas between them")
    _takes_common(fit, "another file that is there already")

    export = add(
        commands, "export", _export, "a classifier for other programs", "Pixels in, probabilities out."
    )
    export.add_argument("--classifier", type=path, metavar="FILE", required=True, help="made by fit")
    export.add_argument("--format", required=True, help="onnx or torch_export")
    export.add_argument(
        "--out", type=path, metavar="FILE", help="default: beside the classifier, as .onnx or .pt2"
    )
    export.add_argument("--overwrite", action="store_true", help="replace a file that is there already")

    curve = add(
        commands,
        "learning-curve",
        _learning_curve,
        "how many pictures of each class are needed",
        "Asks support pictures of the others:\n"
        "how accuracy grows with their number, and what more would bring.",
    )
    curve.epilog = _SUPPORT
    _takes_source(curve)
    curve.add_argument(
        "--out", type=path, metavar="PNG", default="learning-curve.png", help="default learning-curve.png"
    )
    _takes_common(curve, "a file that is there already")


def _takes_source(sub: argparse.ArgumentParser) -> None:
    source = sub.add_mutually_exclusive_group(required=True)
    source.add_argument(
        "--run", type=path, metavar="DIR", help="of a trained run, e.g. checkpoints/cifar_fs; with --support"
    )
    source.add_argument("--classifier", type=path, metavar="FILE", help="made by fit")
    sub.add_argument(
        "--support", type=path, metavar="DIR", help="your classes, a folder each, or a CSV; with --run"
    )


def _takes_common(sub: argparse.ArgumentParser, what: str) -> None:
    sub.add_argument("--overwrite", action="store_true", help=f"replace {what}")
    sub.add_argument("-q", "--quiet", action="store_true", help=_QUIET)


def _source(given: argparse.Namespace) -> "ClassifierSource":
    if given.run is not None and given.support is None:
        raise UserError("--support: is missing; --run needs a folder of your classes, <folder>/<class>/*")
    if given.classifier is not None and given.support is not None:
        raise UserError("--support: goes with --run; a classifier has its own, which fit --add adds to")
    from mtl.own_images.fit import ClassifierSource

    return ClassifierSource(given.run, given.support, given.classifier)


def _predict(given: argparse.Namespace) -> None:
    source = _source(given)
    from mtl.own_images.predict import PredictRequest, predict

    predict(PredictRequest(given.query, source, given.out, given.open_set, given.overwrite, given.quiet))


def _score(given: argparse.Namespace) -> None:
    source = _source(given)
    from mtl.config import Log
    from mtl.own_images.score import score

    score(given.pictures, source, Log(quiet=given.quiet))


def _fit(given: argparse.Namespace) -> None:
    source = _source(given)
    if source.run is not None:
        if given.add is not None or given.remove is not None:
            raise UserError(
                "--add and --remove: change a classifier and go with --classifier, not with --run"
            )
        if given.out is None:
            raise UserError(
                "--out: is missing; it names the file of the classifier, e.g. --out things.fewshot"
            )
    from mtl.config import Log
    from mtl.own_images.fit import fit_again, fit_new

    log, out = Log(quiet=given.quiet), given.out
    if given.classifier is not None:
        fit_again(given.classifier, given.add, given.remove, out, given.overwrite, log)
    else:
        fit_new(given.run, given.support, out, given.overwrite, log)


def _export(given: argparse.Namespace) -> None:
    from mtl.own_images.export import export

    export(given.classifier, given.format, given.out, given.overwrite)


def _learning_curve(given: argparse.Namespace) -> None:
    source = _source(given)
    from mtl.config import Log
    from mtl.own_images.learning_curve_command import learning_curve

    learning_curve(source, given.out, given.overwrite, Log(quiet=given.quiet))
