"""The commands for a person's own pictures, of which a few of each class are enough."""

import argparse
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from mtl.cli.subcommand import add, path
from mtl.config import Backbone, Config, Log, load_config
from mtl.errors import UserError
from mtl.runtime.process import collection_paused

if TYPE_CHECKING:
    from mtl.cli.subcommand import Commands
    from mtl.own_images.fit import ClassifierSource

_SUPPORT = """
Without --run or --classifier, a network that is published with its weights classifies the pictures: nothing
is trained, and its weights are downloaded once. --backbone names another, --weights a file of its weights.

A support folder holds one folder for each class, with its pictures: my_things/ash/*.jpg,
my_things/elm/*.jpg. Any number of pictures will do; classes may have different numbers. Files that cannot be
read are left out and reported; a picture that is in two classes is left out of both. Instead of a folder you
can give a CSV file with a row path,label for each picture; paths are relative to the folder of the file.
"""
_QUERY = """
--query takes folders, which are searched with their subfolders, quoted patterns and single files. Hidden
files are skipped, and in folders also files without the ending of a picture; circular links are followed
once.

The table has a row for each picture, in the order of the files, with the columns
  file, class, probability (calibrated: of answers with 0.8, four of five are right), runner_up,
  runner_up_probability, margin (the first probability minus the second), and with --open-set none (the
  probability that the picture shows none of the classes; above 0.5 the class is "none of these"; all
  probabilities together sum to 1)
A file that cannot be read has a row at the end with only its name; in JSON it is under "skipped", with the
reason. After Ctrl-C the answers so far are written.

  run_meta.py predict --support my_things --query new_pictures
  run_meta.py predict --run checkpoints/cifar_fs --support my_things --query new_pictures
  run_meta.py predict --classifier things.fewshot --query 'new/*.jpg' one.png --out answers.json --open-set
"""
_SCORE = """
--pictures has the same layout as a support folder; in a CSV file with splits, the rows of train are the
support set and the rows of test are classified. Pictures of other classes, and support pictures, are left
out.

  run_meta.py fit --run checkpoints/cifar_fs --support photos/train --out photos.fewshot
  run_meta.py score --classifier photos.fewshot --pictures photos/test
"""
_QUIET = "no progress, only results and errors"
_STUDIO = """
The page shows classes, answers and what is doubtful; pictures are dropped into it, and every answer can be
corrected. Only this machine, with the address that is printed, reaches it. The folder is changed only where
you confirm it on the page. With --run a second view shows what was hard for the run.

  run_meta.py studio my_things
  run_meta.py studio my_things --run checkpoints/cifar_fs
  run_meta.py studio --classifier things.fewshot --state things_studio
"""
_FINE_TUNE = "train the published network's last block too: five pictures of each class, a minute or more"
_SETTINGS = ("runtime.", "log.")
_OVERRIDES = "where it runs and what it shows, e.g. runtime.threads=1 runtime.device=cpu log.every_seconds=5"
_FIT = """
  run_meta.py fit --support my_things --out things.fewshot
  run_meta.py fit --classifier things.fewshot --add more_things --remove 'ash,elm'
  run_meta.py fit --classifier things.fewshot --fix corrections.csv

--add adds pictures to the classifier's classes, or new classes; --remove removes classes first. --fix takes a
CSV file with a row path,label, as the page of predict saves it: a picture that the classifier was fitted to
gets this label, another is added to the class. Without --out the file of --classifier is replaced; another
existing file is replaced only with --overwrite.
"""


def add_to(commands: "Commands") -> None:
    """Adds them all."""
    predict = add(
        commands,
        "predict",
        _predict,
        "classify new pictures, from a few of each class",
        "Estimates its accuracy, then writes a table and a page, least certain first.",
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
        help="what to classify",
    )
    predict.add_argument(
        "--out",
        type=path,
        metavar="FILE",
        default="predictions.csv",
        help="the table, .csv or .json (default predictions.csv); beside it a page, .html",
    )
    predict.add_argument("--open-set", action="store_true", help="a picture may show none of the classes")
    predict.add_argument("--fine-tune", action="store_true", help=_FINE_TUNE)
    _takes_common(predict, "existing files")

    summary = "measure how many labelled pictures a classifier gets right"
    more = "Prints accuracy with its 95 % interval, also by class, and which classes are mistaken for which."
    score = add(commands, "score", _score, summary, more)
    score.epilog = _SUPPORT + _SCORE
    _takes_source(score)
    pictures = "labelled pictures of these classes, in the layout of a support folder"
    score.add_argument("--pictures", type=path, metavar="DIR", required=True, help=pictures)
    score.add_argument("-q", "--quiet", action="store_true", help=_QUIET)
    score.add_argument("overrides", nargs="*", metavar="key=value", help=_OVERRIDES)

    summary = "save a classifier of your classes to a file"
    more = "Fits it to a support folder, or changes a fitted one. The file needs neither run nor pictures."
    fit = add(commands, "fit", _fit, summary, more)
    fit.epilog = _SUPPORT + _FIT
    _takes_source(fit)
    fit.add_argument("--out", type=path, metavar="FILE", help="the classifier, e.g. things.fewshot")
    fit.add_argument("--fine-tune", action="store_true", help=_FINE_TUNE)
    fit.add_argument("--add", type=path, metavar="DIR", help="a support folder whose pictures are added")
    fit.add_argument("--remove", metavar="CLASSES", help="classes to remove, separated by commas")
    fit.add_argument("--fix", type=path, metavar="FILE", help="pictures with their right labels, as CSV")
    _takes_common(fit, "another existing file")

    summary = "write a classifier for other programs"
    export = add(commands, "export", _export, summary, "Pixels in, probabilities out.")
    export.add_argument("--classifier", type=path, metavar="FILE", required=True, help="made by fit")
    export.add_argument("--format", required=True, help="onnx or torch_export")
    out = "default: beside the classifier, as .onnx or .pt2"
    export.add_argument("--out", type=path, metavar="FILE", help=out)
    export.add_argument("--overwrite", action="store_true", help="replace an existing file")

    summary = "estimate how many pictures of each class are needed"
    more = "Classifies support pictures by the others: accuracy by their number, and what more would add."
    curve = add(commands, "learning-curve", _learning_curve, summary, more)
    curve.epilog = _SUPPORT
    _takes_source(curve)
    out = "learning-curve.png"
    curve.add_argument("--out", type=path, metavar="PNG", default=out, help=f"default {out}")
    _takes_common(curve, "an existing file")

    studio = add(
        commands,
        "studio",
        _studio,
        "make and correct classes on a page of this machine",
        "Prints the page's address, and serves it until Ctrl-C.",
    )
    studio.epilog = _STUDIO
    folder = "your classes, a folder each; without it the page begins empty"
    studio.add_argument("folder", type=path, nargs="?", metavar="DIR", help=folder)
    _takes_network(studio, run="of a trained run, e.g. checkpoints/cifar_fs")
    state = "where the page keeps its state (default .studio in the folder)"
    studio.add_argument("--state", type=path, metavar="DIR", help=state)
    studio.add_argument("--port", type=int, default=0, help="of 127.0.0.1 (default: any that is free)")
    studio.add_argument("-q", "--quiet", action="store_true", help=_QUIET)


def _takes_source(sub: argparse.ArgumentParser) -> None:
    _takes_network(sub, run="of a trained run, e.g. checkpoints/cifar_fs; with --support")
    support = "your classes, a folder each, or a CSV file"
    sub.add_argument("--support", type=path, metavar="DIR", help=support)


def _takes_network(sub: argparse.ArgumentParser, run: str) -> None:
    source = sub.add_mutually_exclusive_group()
    source.add_argument("--run", type=path, metavar="DIR", help=run)
    source.add_argument("--classifier", type=path, metavar="FILE", help="made by fit")
    backbone = "a published network, torchvision.NAME or timm.NAME (the default, where nothing is named)"
    source.add_argument("--backbone", metavar="NAME", help=backbone)
    weights = "its weights: a file, or a name that the library has for them; without: those it has by default"
    sub.add_argument("--weights", metavar="FILE", help=weights)


def _takes_common(sub: argparse.ArgumentParser, what: str) -> None:
    sub.add_argument("--overwrite", action="store_true", help=f"replace {what}")
    sub.add_argument("-q", "--quiet", action="store_true", help=_QUIET)
    sub.add_argument("overrides", nargs="*", metavar="key=value", help=_OVERRIDES)


@collection_paused()
def _source(given: argparse.Namespace) -> "tuple[ClassifierSource, Log]":
    """Where the classifier comes from and runs, and how progress is shown."""
    if given.classifier is None and given.support is None:
        raise UserError("--support: is missing; it names a folder of your classes, <folder>/<class>/*")
    if given.classifier is not None and given.support is not None:
        raise UserError(
            "--support: does not go with --classifier, which has its support pictures; fit --add adds to them"
        )
    settings = _settings(given)
    from mtl.own_images.fit import ClassifierSource

    network = _network(given)
    log = replace(settings.log, quiet=settings.log.quiet or given.quiet)
    fine_tune = getattr(given, "fine_tune", False)
    if fine_tune and given.classifier is not None:
        raise UserError("--fine-tune: is for a support folder; a classifier is fitted already")
    return ClassifierSource(network, given.support, given.classifier, settings.runtime, fine_tune), log


def _network(given: argparse.Namespace) -> Path | Backbone | None:
    """The run's folder, or a published network; None with a classifier."""
    if given.run is not None or given.classifier is not None:
        if given.weights is not None:
            raise UserError("--weights: are those of --backbone, and go with neither --run nor --classifier")
        run: Path | None = given.run
        return run
    from mtl.own_images.published import published

    return published(given.backbone, given.weights)


def _settings(given: argparse.Namespace) -> Config:
    """The sections `runtime` and `log` as the command line gives them."""
    for text in given.overrides:
        key = text.partition("=")[0]
        if not key.startswith(_SETTINGS):
            raise UserError(f"{text}: only runtime.key=value and log.key=value can be given here")
        if key == "runtime.precision" and (given.run or given.classifier):
            raise UserError("runtime.precision: a run and a classifier have their own; leave it out")
    return load_config(None, given.overrides)


def _predict(given: argparse.Namespace) -> None:
    # --query takes all words that follow it
    settings = [word for word in given.query if word.startswith(_SETTINGS) and "=" in word]
    given.query = [word for word in given.query if word not in settings]
    given.overrides += settings
    source, log = _source(given)
    from mtl.own_images.predict import PredictRequest, predict

    predict(PredictRequest(given.query, source, given.out, given.open_set, given.overwrite, log))


def _score(given: argparse.Namespace) -> None:
    source, log = _source(given)
    from mtl.own_images.score import score

    score(given.pictures, source, log)


def _fit(given: argparse.Namespace) -> None:
    source, log = _source(given)
    if source.network is not None:
        if any(change is not None for change in (given.add, given.remove, given.fix)):
            raise UserError("--add, --remove and --fix: change a classifier and go with --classifier")
        if given.out is None:
            raise UserError(
                "--out: is missing; it names the file of the classifier, e.g. --out things.fewshot"
            )
    from mtl.own_images.fit import Changes, fit_again, fit_new

    out = given.out
    if given.classifier is not None:
        changes = Changes(given.remove, given.add, given.fix)
        fit_again(given.classifier, changes, out, given.overwrite, log, source.runtime)
    elif source.network is not None:
        fit_new(source, out, given.overwrite, log)


def _export(given: argparse.Namespace) -> None:
    from mtl.own_images.export import export

    export(given.classifier, given.format, given.out, given.overwrite)


def _learning_curve(given: argparse.Namespace) -> None:
    source, log = _source(given)
    from mtl.own_images.learning_curve_command import learning_curve

    learning_curve(source, given.out, given.overwrite, log)


def _studio(given: argparse.Namespace) -> None:
    from mtl.config import Log
    from mtl.studio.app import studio

    log = Log(quiet=given.quiet)
    studio(given.folder, _network(given), given.classifier, given.state, given.port, log)
